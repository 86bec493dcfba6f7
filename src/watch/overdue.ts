/**
 * The invariant of the gateway, looked at from outside of it: nothing outlives its deadline by more than a second. The
 * timeouts promise that; a timer that is lost, or was never set, would break the promise without a trace. So once a
 * second whoever is in flight is compared with what is due. An exchange itself pays nothing for it, and those younger
 * than a second are not even looked at.
 */
import type { BoundRoute, InFlight } from '../exchange/route.ts'
import type { Stage } from '../outcome.ts'

const SWEEP_MS = 1000
const TOLERANCE_MS = 1000

export class Overdue {
  readonly #routes: readonly BoundRoute[]
  readonly #report: (exchange: InFlight, byMs: number) => void
  readonly #counted = new WeakSet<InFlight>()
  readonly #counts = new Map<string, Map<Stage, number>>()
  #timer: NodeJS.Timeout | undefined
  /** Exchanges that were overdue at the last sweep. */
  now = 0

  /** @param report called once for each exchange that is found overdue */
  constructor(routes: readonly BoundRoute[], report: (exchange: InFlight, byMs: number) => void) {
    this.#routes = routes
    this.#report = report
  }

  start(): void {
    this.#timer = setInterval(() => this.#sweep(), SWEEP_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Exchanges of this route that were found overdue in this stage. */
  count(route: string, stage: Stage): number {
    return this.#counts.get(route)?.get(stage) ?? 0
  }

  #sweep(): void {
    const found = this.#late()
    if (found.length === 0) {
      this.now = 0
      return
    }
    // After a stall of the process every timer is late, this one too. Two turns later each of them has run, and looked
    // twice (deadlines.ts): what is overdue then has no timer.
    setImmediate(() => setImmediate(() => this.#confirm()))
  }

  #confirm(): void {
    const late = this.#late()
    this.now = late.length
    for (const [exchange, byMs] of late) {
      if (this.#counted.has(exchange)) continue
      this.#counted.add(exchange)
      const stage = exchange.stageNow
      const stages = this.#counts.get(exchange.route.name) ?? new Map<Stage, number>()
      this.#counts.set(exchange.route.name, stages.set(stage, (stages.get(stage) ?? 0) + 1))
      this.#report(exchange, byMs)
    }
  }

  #late(): (readonly [InFlight, number])[] {
    const at = performance.now()
    const late: (readonly [InFlight, number])[] = []
    for (const { inflight } of this.#routes) {
      for (const exchange of inflight) {
        // Oldest first: those that follow are younger still, and nothing is due before an exchange begins.
        if (exchange.ageMs(at) <= TOLERANCE_MS) break
        const byMs = overdueMs(exchange, at)
        if (byMs > TOLERANCE_MS) late.push([exchange, byMs])
      }
    }
    return late
  }
}

/**
 * For how long an exchange should have been over, ms; negative: it may still take so long. Any timeout that runs counts.
 * Without an upload the `request` deadline runs from the start, so that it counts even where nobody set it; with one it
 * begins at the last byte, which only its own clock knows.
 */
export function overdueMs(exchange: InFlight, at: number): number {
  if (exchange.inside === undefined) return -Infinity
  const { timeouts, hasBody } = exchange.inside
  const deadline = hasBody ? -Infinity : exchange.ageMs(at) - exchange.route.limits.request
  return Math.max(deadline, timeouts.overdueMs(at))
}
