/**
 * The version at the beginning of each response, which undici keeps to itself: it takes `HTTP/0.9`, `HTTP/2.0`, `RTSP/1.0`
 * and `ICE/1.0` for HTTP (measured), and chunks from HTTP/1.0, which has none (RFC 9112 section 6.1). So the bytes are
 * looked at on their way from the socket to its parser; only the first eight of a response are.
 */
import type { Socket } from 'node:net'

const PREFIX = Buffer.from('HTTP/1.')
const ZERO = 0x30
const ONE = 0x31

export class VersionWatch {
  /** How many bytes of the version were right. */
  #matched = PREFIX.length + 1
  /** Of HTTP/1, in the response under way. */
  minor: 0 | 1 = 1
  wrong = false

  /** The next bytes begin a response. */
  expect(): void {
    this.#matched = 0
    this.wrong = false
  }

  watch(socket: Socket): void {
    const { read } = socket
    socket.read = (size?: number): Buffer | null => {
      const bytes = read.call(socket, size) as Buffer | null
      if (this.#matched <= PREFIX.length && bytes !== null) this.#take(bytes)
      return bytes
    }
  }

  #take(bytes: Buffer): void {
    for (let i = 0; i < bytes.length && this.#matched <= PREFIX.length; i++) {
      const byte = bytes[i] as number
      if (this.#matched < PREFIX.length) {
        if (byte !== PREFIX[this.#matched]) this.wrong = true
      } else {
        if (byte !== ZERO && byte !== ONE) this.wrong = true
        this.minor = byte === ZERO ? 0 : 1
      }
      this.#matched++
    }
  }
}
