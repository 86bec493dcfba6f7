import type { Socket } from 'node:net'

/**
 * Sends a RST now, dropping what is still queued. `socket.resetAndDestroy()` would first wait for pending writes
 * (stack fact 34), which for a peer that does not read is for ever; the flag it sets, followed by a plain destroy, is
 * the same close without the wait (lib/net.js, `Socket.prototype._destroy`).
 *
 * While a FIN of ours is on its way libuv refuses the reset (EINVAL from `uv_tcp_close_reset`), and node then forgets the
 * descriptor without closing it (measured on Node 20: the process never exits). So then it is a plain close.
 */
export function resetNow(socket: Socket): void {
  const resettable = socket as Socket & { resetAndClosing: boolean }
  resettable.resetAndClosing = !socket.writableEnded || socket.writableFinished
  socket.destroy()
}

/**
 * At a socket's 'end': whether it was a RST that libuv took for a FIN. When a RST arrives before the bytes ahead of it
 * were read, one poll reports readable and hung up, and after a short read libuv calls that the end of the stream
 * without looking for the error (`uv__stream_io`, "Short-circuit iff POLLHUP"; measured on Node 20; Node 24 brings
 * ECONNRESET). A socket that was reset has no peer any more, so getpeername(2) tells: ENOTCONN after a RST, the
 * peer after a FIN. `socket.remoteAddress` asks the same, but answers from its cache once it was read.
 */
export function wasReset(socket: Socket): boolean {
  const { _handle: handle } = socket as Socket & { _handle: { getpeername(out: object): number } | null }
  return handle !== null && handle.getpeername({}) !== 0
}
