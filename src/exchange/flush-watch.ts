/**
 * Watches bytes that wait at a socket, for the two timeouts that mean "the peer takes nothing": `request_write`
 * towards the upstream and `write_idle` towards the client. Both restart at each byte the peer takes.
 *
 * Node tells when a write is finished, not when the kernel took part of it: one write of 1 MB to a peer that reads
 * 100 KB a second is silent for ten seconds. So while bytes wait, and only then, the watch looks at how many the kernel
 * has taken, often enough (1 % of the timeout, at least every 20 ms) to stay within the promised tolerance.
 */
import type { Socket } from 'node:net'
import { type Clocked, type Deadlines, now } from './deadlines.ts'

interface StreamHandle {
  /** Bytes handed to libuv so far. */
  readonly bytesWritten?: number
  /** Of these, bytes the kernel has not taken yet: it falls as the kernel takes parts of one write. */
  readonly writeQueueSize?: number
}

/** Bytes of `socket` that the kernel has taken, as far as Node shows them; only its growth means anything. */
function bytesTaken(socket: Socket): number {
  // No public counterpart exists; test/facts holds that both fields are there and move.
  const handle = (socket as unknown as { _handle: StreamHandle | null })._handle
  return (handle?.bytesWritten ?? 0) - (handle?.writeQueueSize ?? 0)
}

export class FlushWatch {
  readonly #deadlines: Deadlines
  readonly #which: Clocked
  readonly #limitMs: number
  readonly #stepMs: number
  #socket: Socket | undefined
  #taken = 0
  #progressAt = 0

  constructor(deadlines: Deadlines, which: Clocked, limitMs: number) {
    this.#deadlines = deadlines
    this.#which = which
    this.#limitMs = limitMs
    this.#stepMs = Math.min(Math.max(20, limitMs / 100), 200)
  }

  get watching(): boolean {
    return this.#socket !== undefined
  }

  /** Bytes are pending at `socket` from now on. */
  start(socket: Socket): void {
    if (this.#socket !== undefined) return
    this.#socket = socket
    this.#taken = bytesTaken(socket)
    this.#progressAt = now()
    if (this.#limitMs !== Infinity)
      this.#deadlines.arm(this.#which, Math.min(this.#stepMs, this.#limitMs), this.#progressAt)
  }

  /** They were flushed. */
  stop(): void {
    if (this.#socket === undefined) return
    this.#socket = undefined
    this.#deadlines.disarm(this.#which)
  }

  /**
   * To be called when the deadline of this watch is due.
   * @returns how late the timeout fires in ms, or -1 when the peer took something meanwhile (the watch goes on).
   */
  look(): number {
    const socket = this.#socket
    if (socket === undefined) return -1
    const at = now()
    const taken = bytesTaken(socket)
    if (taken > this.#taken) {
      this.#taken = taken
      this.#progressAt = at
    }
    const left = this.#limitMs - (at - this.#progressAt)
    if (left <= 0) return -left
    this.#deadlines.arm(this.#which, Math.min(this.#stepMs, left), at)
    return -1
  }
}
