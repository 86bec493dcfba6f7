/** For how long a connection may lie idle between two requests: one timer for its life, wound up again after each. */

/** Taken off what the upstream's `Keep-Alive` promises, ms, so that we close before it does. */
const HINT_MARGIN_MS = 1000

export interface Idler {
  readonly borrowed: boolean
  retire(): void
}

export class IdleClock {
  readonly #idler: Idler
  readonly #keepaliveMs: number
  #timer: NodeJS.Timeout | undefined
  #ms = 0

  constructor(idler: Idler, keepaliveMs: number) {
    this.#idler = idler
    this.#keepaliveMs = keepaliveMs
  }

  /**
   * The connection begins to idle.
   * @param hint of the upstream's `Keep-Alive: timeout`, seconds; -1: it says nothing
   * @returns false where it may not idle at all
   */
  start(hint: number): boolean {
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
}

function retireIdle(idler: Idler): void {
  if (!idler.borrowed) idler.retire()
}
