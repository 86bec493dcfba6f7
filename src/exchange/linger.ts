/**
 * Closing a connection whose client is still sending. Closing at once answers the unread bytes with a RST, and the RST
 * takes our reply out of the client's receive buffer (RFC 9112 section 9.6): so say FIN, read on and throw away, and
 * close when the client does or after a while.
 */
import type { Socket } from 'node:net'

/** How long a client may go on sending what nobody wants, in ms. nginx: lingering_timeout 5s; a caller needs one round trip. */
const LINGER_MS = 2000

export function linger(socket: Socket): void {
  if (socket.readableEnded) {
    socket.destroySoon()
    return
  }
  socket.end()
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('end', () => socket.destroy())
  socket.once('close', () => clearTimeout(timer))
}
