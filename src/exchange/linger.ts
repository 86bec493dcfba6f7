/**
 * Closing a connection whose client is still sending. Closing at once answers the unread bytes with a RST, and the RST
 * takes our reply out of the client's receive buffer (RFC 9112 section 9.6): so say FIN, read on and throw away, and
 * close when the client does or after a while.
 */
import type { Socket } from 'node:net'

/** How long a client may go on sending what nobody wants, in ms. nginx: lingering_timeout 5s; a caller needs one round trip. */
const LINGER_MS = 2000

/**
 * Makes the close of `socket` that follows the response a lingering one: Node calls `destroySoon` after the last byte
 * of a response that carries `Connection: close`, having set the rest of the request's body to be discarded.
 */
export function lingerOnClose(socket: Socket): void {
  socket.destroySoon = () => linger(socket)
}

export function linger(socket: Socket): void {
  socket.end()
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('end', () => socket.destroy())
  socket.once('close', () => clearTimeout(timer))
}
