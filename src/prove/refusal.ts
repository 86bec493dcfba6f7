import { connect, createServer, type Server, type Socket } from 'node:net'

export interface PortOnly {
  readonly port: number
  close(): Promise<void>
}

/**
 * A port at which dials are refused for as long as this lives. A port merely closed again may be given to the next
 * `listen(0)` on the machine; this one is taken, as the local end of a connection, and nobody listens on it.
 *
 * @param port a fixed one instead of any free one
 */
export async function startRefusal(port?: number): Promise<PortOnly> {
  const server = createServer()
  const accepted = new Promise<Socket>(resolve => server.once('connection', resolve))
  const holder = await new Promise<Socket>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const from = port === undefined ? {} : { localPort: port, localAddress: '127.0.0.1' }
      const socket = connect({ port: portOf(server), host: '127.0.0.1', ...from }, () => resolve(socket))
      socket.once('error', error => {
        server.close()
        reject(error)
      })
    })
  })
  const peer = await accepted
  holder.on('error', () => {})
  holder.unref()
  peer.on('error', () => {})
  peer.unref()
  server.unref()
  return {
    port: holder.localPort ?? 0,
    close: () => {
      holder.destroy()
      peer.destroy()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  return address.port
}
