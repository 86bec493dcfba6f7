/** Ends a TCP connection at once, by RST where the kernel allows it; and knows one that the peer has ended so. */
import type { Socket } from 'node:net'

/**
 * What is pending is dropped, the peer learns of it now, and nothing stays behind in TIME_WAIT.
 *
 * While a FIN is on its way libuv refuses the reset (uv_tcp_close_reset: UV_EINVAL), and Node then leaves the
 * descriptor open for good and hangs at exit (measured): such a socket is closed the plain way. So is one that is
 * still dialling. Towards a peer that takes nothing, a plain close would leave megabytes in the kernel for minutes.
 *
 * @param reason emitted as the socket's `error`
 */
export function sever(socket: Socket, reason?: Error): void {
  if (socket.destroyed) return
  // Node asks for the FIN only when nothing is left to write.
  const finOnItsWay = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished
  if (!socket.connecting && !finOnItsWay) {
    // What `resetAndDestroy()` does, which takes no reason (lib/net.js).
    const resettable = socket as Socket & { resetAndClosing: boolean }
    resettable.resetAndClosing = true
  }
  socket.destroy(reason)
}

/**
 * On Node 20 a RST that arrives together with data, or while reading is paused, shows as a clean `end` (40 of 40;
 * Node 24 reports ECONNRESET). The kernel remembers: after a FIN the peer's name is still there, after a RST it is not.
 */
export function wasReset(raw: Socket): boolean {
  const handle = (raw as unknown as { _handle: { getpeername?(out: object): number } | null })._handle
  return handle?.getpeername !== undefined && handle.getpeername({}) !== 0
}
