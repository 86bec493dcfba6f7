import { createServer } from 'node:net'

/** Below the range from which the kernel gives out ports (32768 and up): nobody takes one before its owner does. */
const FIRST = 10_000
const COUNT = 20_000
let next = (process.pid * 16) % COUNT

/** Ports of 127.0.0.1 that are free now, for programs that cannot tell which one they were given. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = FIRST + (next++ % COUNT)
    const server = createServer()
    const isFree = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await new Promise(resolve => server.close(resolve))
    ports.push(port)
  }
  return ports
}
