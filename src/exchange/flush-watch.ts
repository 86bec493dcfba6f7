/**
 * Watches bytes that wait at a socket, for the two timeouts that mean "the peer takes nothing": `request_write`
 * towards the upstream and `write_idle` towards the client. Both restart at each byte the peer takes.
 *
 * Node tells when a write is finished, not when part of it went: one write of 1 MB to a peer that reads 100 KB a second
 * is silent for ten seconds. libuv knows more, but only when the kernel has room again, and that is when a third of a
 * send buffer of up to 4 MB is free (sk_stream_is_writeable): a peer that reads steadily was cut after 1.3 MB. Only the
 * kernel's own count of unacknowledged bytes moves with the peer. So while bytes wait, and only then, the watch looks
 * at both, often enough (1 % of the timeout, at least every 20 ms) for the promised tolerance.
 */
import type { Socket } from 'node:net'
import { now } from './alarm.ts'
import type { Clocked, Deadlines } from './deadlines.ts'
import type { SocketTable } from './socket-table.ts'

interface StreamHandle {
  /** Bytes handed to libuv so far. */
  readonly bytesWritten?: number
  /** Of these, bytes the kernel has not taken yet: it falls as the kernel takes parts of one write. */
  readonly writeQueueSize?: number
}

/**
 * What the kernel must have delivered for the peer to count as taking it. Less is no sign of life: 200 ms after a window
 * became smaller than a segment (64 KiB on loopback) the kernel fills it up by itself, and a peer that reads nothing at
 * all got 200 to 400 ms more than its timeout (measured by `prove`).
 */
const LEAST_PROGRESS_BYTES = 64 * 1024

/** How often a timeout that is due looks whether the table has been read, and for how long, ms. */
const TABLE_WAIT_MS = 3
const TABLE_PATIENCE_MS = 30
/**
 * When libuv can write no more, the peer's kernel still takes what is on its way (80 KB of 4 MB, within 50 ms). Seen only
 * at the table's own pace, that was a timeout 500 ms late: so until two counts agree, for this long, it is asked at once.
 */
const SETTLING_MS = 250

export class FlushWatch {
  readonly #deadlines: Deadlines
  readonly #which: Clocked
  readonly #limitMs: number
  readonly #stepMs: number
  readonly #table: SocketTable
  #socket: Socket | undefined
  /** Bytes that the kernel has taken; only its growth means anything. */
  #taken = 0
  /** Since when it has taken no more, monotonic ms. */
  #takenAt = 0
  /** Of these, bytes that the peer had not when it was last seen to take some; -1: not known since `takenAt`. */
  #unacknowledged = -1
  #sampledAt = -Infinity
  /** The last two counts are the same. */
  #settled = false
  /** When the peer was last seen to take something. */
  #progressAt = 0

  constructor(deadlines: Deadlines, which: Clocked, limitMs: number, table: SocketTable) {
    this.#deadlines = deadlines
    this.#which = which
    this.#limitMs = limitMs
    this.#stepMs = Math.min(Math.max(20, limitMs / 100), 200)
    this.#table = table
  }

  get watching(): boolean {
    return this.#socket !== undefined
  }

  /** Bytes are pending at `socket` from now on. */
  start(socket: Socket): void {
    if (this.#socket !== undefined) return
    this.#socket = socket
    this.#taken = bytesTaken(socket)
    this.#unacknowledged = -1
    this.#settled = false
    this.#takenAt = now()
    this.#progressAt = this.#takenAt
    if (this.#limitMs === Infinity) return
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
      this.#takenAt = at
      this.#unacknowledged = -1
      this.#settled = false
      this.#progressAt = at
    }
    const left = this.#limitMs - (at - this.#progressAt)
    // The table is read as often as it may be; whatever that is, once for a count to begin with, and once for the end.
    const lead = Math.min(this.#table.costMs * 2 + 10, this.#limitMs / 4)
    const uncounted = this.#unacknowledged === -1 && left <= this.#limitMs * 0.75
    const settling = !this.#settled && at - this.#takenAt < SETTLING_MS
    this.#askKernel(socket, left <= lead || uncounted || settling)
    if (left > lead) {
      this.#deadlines.arm(this.#which, Math.min(this.#stepMs, left - lead), at)
      return -1
    }
    if (left > 0) {
      this.#deadlines.arm(this.#which, left, at)
      return -1
    }
    const asked = this.#progressAt + this.#limitMs - lead
    if (!this.#table.available || this.#table.readAt >= asked || -left > TABLE_PATIENCE_MS) return -left
    this.#deadlines.arm(this.#which, TABLE_WAIT_MS, at)
    return -1
  }

  #askKernel(socket: Socket, urgent: boolean): void {
    this.#table.refresh(urgent).then(() => {
      const { readAt } = this.#table
      // Only a row that is younger than the last that libuv took says something about what it took.
      if (this.#socket !== socket || readAt < this.#takenAt || readAt <= this.#sampledAt) return
      const row = this.#table.row(socket)
      if (row === undefined) return
      this.#sampledAt = readAt
      if (row.unacknowledged === this.#unacknowledged) {
        this.#settled = true
      } else if (this.#unacknowledged === -1) {
        this.#unacknowledged = row.unacknowledged
      } else if (this.#unacknowledged - row.unacknowledged >= LEAST_PROGRESS_BYTES) {
        this.#unacknowledged = row.unacknowledged
        this.#progressAt = Math.max(this.#progressAt, readAt)
      }
    })
  }
}

/** Bytes that the kernel has taken for the peer; only its growth means anything. */
export function bytesTaken(socket: Socket): number {
  // No public counterpart exists; test/facts holds that both fields are there and move.
  const handle = (socket as unknown as { _handle: StreamHandle | null })._handle
  return (handle?.bytesWritten ?? 0) - (handle?.writeQueueSize ?? 0)
}
