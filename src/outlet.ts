/**
 * What leaves by a socket as one small text: past the queue of Node's writable stream where nothing is in it, which is nearly
 * always. What the stream adds to such a write (its own account of it, and a tick for each) was 3 % of a small request (measured:
 * docs/benchmarks.md).
 */
import type { Socket } from 'node:net'

export class Outlet {
  readonly socket: Socket
  /** The last of a message has left: for writes to the socket itself, and for `tell`. */
  readonly written: (error?: Error | null) => void
  readonly #taken: (error?: Error | null) => void
  /** Of a write past the stream that the kernel has not taken whole: all its bytes, as `writableLength` would have them. */
  #direct = 0
  /** It is the last of a message. */
  #last = false
  /** The write is being called. */
  #calling = false

  /** @param flushed called some time after the last bytes of a message have left, unless the socket is gone by then */
  constructor(socket: Socket, flushed: () => void) {
    this.socket = socket
    // To a socket that was destroyed with bytes pending, Node 20 says that they were written.
    this.written = error => {
      if (!error && !socket.destroyed) flushed()
    }
    this.#taken = error => this.#onTaken(error)
  }

  /** Bytes that the kernel has not taken. */
  get pending(): number {
    return this.socket.writableLength + this.#direct
  }

  /** @param last of a message: `flushed` will be called */
  write(text: string, last: boolean): void {
    const { socket } = this
    if (this.pending > 0 || socket.destroyed || socket.writableEnded || socket.writableCorked > 0) {
      if (last) socket.write(text, 'latin1', this.written)
      else socket.write(text, 'latin1')
      return
    }
    this.#direct = text.length
    this.#last = last
    this.#calling = true
    socket._write(text, 'latin1', this.#taken)
    this.#calling = false
  }

  #onTaken(error: Error | null | undefined): void {
    this.#direct = 0
    if (error) this.socket.destroy(error)
    else if (!this.#last) return
    else if (!this.#calling) this.written()
    else if (told.push(this) === 1) process.nextTick(tell)
  }
}

/** Whose last bytes have left in this turn. Told when all of a turn is written: what is written in between wakes its reader alone. */
let told: Outlet[] = []

function tell(): void {
  const due = told
  told = []
  let next = 0
  try {
    while (next < due.length) (due[next++] as Outlet).written()
  } finally {
    if (next < due.length) {
      // One has thrown: that is nobody else's fault.
      if (told.length === 0) process.nextTick(tell)
      told = [...due.slice(next), ...told]
    }
  }
}
