import { connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/**
 * A relay with the latency of a network: every byte, and every end, arrives so much later. On loopback alone the races
 * of real networks are a few us wide, and hit by nobody.
 */
export async function startLatency(t: TestContext, port: number, eachWayMs: number): Promise<string> {
  const sockets = new Set<Socket>()
  const relay = createServer({ allowHalfOpen: true, noDelay: true }, near => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    carry(near, far, eachWayMs)
    carry(far, near, eachWayMs)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    }
  })
  await new Promise<void>(resolve => relay.listen(0, '127.0.0.1', resolve))
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => relay.close(resolve))
  })
  return `http://127.0.0.1:${(relay.address() as { port: number }).port}`
}

function carry(from: Socket, to: Socket, ms: number): void {
  const later = (deed: () => void): void => {
    setTimeout(() => {
      if (!to.destroyed && !to.writableEnded) deed()
    }, ms)
  }
  from.on('data', bytes => later(() => to.write(bytes)))
  from.on('end', () => later(() => to.end()))
  from.on('error', () => later(() => to.resetAndDestroy()))
}
