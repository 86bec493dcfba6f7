/**
 * A socket in CLOSE_WAIT is one whose peer has left and that we have not closed. For a moment that is normal. Longer
 * than any deadline of ours it is a leak (incident 4: hundreds of them, and then no descriptors), and it is logged, once
 * for each socket, with the exchanges that hold it.
 */
import type { InCloseWait } from './kernel-view.ts'

/** So many are followed at the same time; there is no use in more. */
const MOST_FOLLOWED = 10_000

export interface CloseWaitReport {
  readonly side: string
  readonly sockets: number
  /** Of the oldest. */
  readonly forMs: number
  /** As `nameOf` calls them. */
  readonly names: readonly string[]
}

export class CloseWaitWatch {
  readonly #longestMs: number
  readonly #report: (found: CloseWaitReport) => void
  /** When each was first seen, monotonic ms; Infinity: it was reported. */
  #since = new Map<string, number>()

  /** @param longestMs no deadline of the gateway is longer */
  constructor(longestMs: number, report: (found: CloseWaitReport) => void) {
    this.#longestMs = longestMs
    this.#report = report
  }

  look(found: readonly InCloseWait[], at: number): void {
    const since = new Map<string, number>()
    const late = new Map<string, { forMs: number; names: string[] }>()
    for (const { side, name } of found) {
      if (since.size >= MOST_FOLLOWED) break
      const first = this.#since.get(name) ?? at
      since.set(name, first)
      if (at - first <= this.#longestMs) continue
      const ofSide = late.get(side) ?? { forMs: 0, names: [] }
      ofSide.forMs = Math.max(ofSide.forMs, at - first)
      ofSide.names.push(name)
      late.set(side, ofSide)
      since.set(name, Infinity)
    }
    this.#since = since
    for (const [side, { forMs, names }] of late) this.#report({ side, sockets: names.length, forMs, names })
  }
}
