/**
 * Notices clients that leave while nobody reads from them. Node sees a FIN or a RST only when it reads, and an upload
 * that waits for a slot or for a slow upstream is not read: such connections become CLOSE_WAIT corpses (3.5 s unseen
 * with 200 KB unread, measured). The kernel's socket table knows: CLOSE_WAIT after a FIN, no row at all after a RST.
 * Looked at every 500 ms, and only while an exchange is in that position; a RST, which each socket tells for 1 us, every
 * 100 ms.
 */
import type { Socket } from 'node:net'
import { type Place, Roster } from '../roster.ts'
import { wasReset } from '../sever.ts'
import { CLOSE_WAIT, type SocketTable } from './socket-table.ts'

const RESET_INTERVAL_MS = 100
/** The table is looked at every so many of these. */
const RESET_LOOKS = 5

export interface Watched {
  readonly socket: Socket
  /** Where it is watched; kept for it by `Vanished`. */
  watch: Place<Watch> | undefined
  /** Called once: the client at the other end of `socket` is gone. */
  vanished(): void
}

export interface Watch {
  readonly one: Watched
  /** Monotonic ms. */
  readonly since: number
  /** How often in a row it was not found: the kernel can skip a row between two of its reads. */
  misses: number
}

export class Vanished {
  readonly #table: SocketTable
  readonly #watched = new Roster<Watch>()
  /** The `readAt` of the table that was looked at last. */
  #lookedAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  #looks = 0

  constructor(table: SocketTable) {
    this.#table = table
  }

  watch(one: Watched): void {
    if (!this.#table.available) return
    this.unwatch(one)
    one.watch = this.#watched.add({ one, since: performance.now(), misses: 0 })
    this.#timer ??= setInterval(() => void this.#look(), RESET_INTERVAL_MS).unref()
  }

  unwatch(one: Watched): void {
    this.#watched.remove(one.watch)
    one.watch = undefined
  }

  async #look(): Promise<void> {
    if (this.#watched.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    // A RST shows without the table, which can be slow to read (15 ms for 3000 rows, ten times that on a busy machine).
    for (const { one } of this.#watched) if (wasReset(one.socket)) one.vanished()
    if (++this.#looks % RESET_LOOKS !== 0) return
    await this.#table.refresh()
    const { readAt } = this.#table
    if (readAt === this.#lookedAt) return
    this.#lookedAt = readAt
    for (const watch of this.#watched) {
      const { one } = watch
      // A connection made after the table was read is not in it, and not gone.
      if (readAt < watch.since) continue
      const state = this.#table.row(one.socket)?.state
      if (state !== undefined) watch.misses = 0
      if (state === CLOSE_WAIT || (state === undefined && watch.misses++ > 0)) one.vanished()
    }
  }
}
