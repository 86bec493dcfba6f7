/**
 * For how long a connection may lie idle between two requests, by one timer that is wound up again after each; and up to which
 * age it may serve another, by one for its life.
 */

/** Taken off what the upstream's `Keep-Alive` promises, ms, so that we close before it does. */
const HINT_MARGIN_MS = 1000

export interface Idler {
  readonly borrowed: boolean
  retire(): void
}

export class IdleClock {
  readonly #idler: Idler
  readonly #keepaliveMs: number
  readonly #maxAgeMs: number
  #timer: NodeJS.Timeout | undefined
  #ms = 0
  #ageTimer: NodeJS.Timeout | undefined
  #aged = false

  constructor(idler: Idler, pool: { readonly keepaliveMs: number; readonly maxAgeMs: number }) {
    this.#idler = idler
    this.#keepaliveMs = pool.keepaliveMs
    this.#maxAgeMs = pool.maxAgeMs
  }

  /** It is connected. */
  born(): void {
    if (this.#maxAgeMs !== Infinity) this.#ageTimer = setTimeout(() => this.#ages(), this.#maxAgeMs).unref()
  }

  /**
   * The connection begins to idle.
   * @param hint of the upstream's `Keep-Alive: timeout`, seconds; -1: it says nothing
   * @returns false where it may not idle at all
   */
  start(hint: number): boolean {
    if (this.#aged) return false
    const ms = hint === -1 ? this.#keepaliveMs : Math.min(this.#keepaliveMs, hint * 1000 - HINT_MARGIN_MS)
    if (ms <= 0) return false
    if (this.#timer !== undefined && this.#ms === ms) {
      this.#timer.refresh()
    } else {
      this.stop()
      this.#ms = ms
      this.#timer = setTimeout(retireIdle, ms, this.#idler).unref()
    }
    return true
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** It is gone. */
  end(): void {
    this.stop()
    clearTimeout(this.#ageTimer)
  }

  #ages(): void {
    this.#aged = true
    retireIdle(this.#idler)
  }
}

function retireIdle(idler: Idler): void {
  if (!idler.borrowed) idler.retire()
}
