/**
 * The client hop's two timeouts on a request body: `body_idle`, restarted by each byte, and `min_body_rate`, which
 * bounds what `body_idle` cannot (one byte every nine seconds). Both run only while we want bytes: while the upstream
 * makes us wait, nothing is the client's fault.
 */
import { now } from './alarm.ts'
import { CLIENT_BODY_IDLE, type Deadlines, MIN_BODY_RATE } from './deadlines.ts'
import type { RouteLimits } from './route.ts'

export class UploadClock {
  readonly #deadlines: Deadlines
  readonly #limits: RouteLimits
  /** Time for which we have wanted bytes, in ms, up to `#since`. */
  #wantedMs = 0
  /** Since when we want bytes; -1: we do not. */
  #since = -1
  #received = 0

  constructor(deadlines: Deadlines, limits: RouteLimits) {
    this.#deadlines = deadlines
    this.#limits = limits
  }

  get wanting(): boolean {
    return this.#since !== -1
  }

  want(): void {
    if (this.wanting) return
    const at = now()
    this.#since = at
    this.#arm(at)
  }

  received(bytes: number): void {
    this.#received += bytes
    if (this.wanting) this.#arm(now())
  }

  hold(): void {
    if (!this.wanting) return
    this.#wantedMs += now() - this.#since
    this.#since = -1
    this.#deadlines.disarm(CLIENT_BODY_IDLE)
    this.#deadlines.disarm(MIN_BODY_RATE)
  }

  #arm(at: number): void {
    const { clientBodyIdle, minBodyRate } = this.#limits
    if (clientBodyIdle !== Infinity) this.#deadlines.arm(CLIENT_BODY_IDLE, clientBodyIdle, at)
    if (minBodyRate === null) return
    // The bytes received are enough up to this much wanted time; from then on the average is below the rate.
    const enoughForMs = Math.max(minBodyRate.graceMs, this.#received / minBodyRate.bytesPerMs)
    const wantedMs = this.#wantedMs + (at - this.#since)
    this.#deadlines.arm(MIN_BODY_RATE, Math.max(0, enoughForMs - wantedMs), at)
  }
}
