/** How long the event loop is held, as everything that `prove` measures runs in it. */

const EVERY_MS = 10
/** Remembered for so long, ms. */
const MEMORY_MS = 600_000

export class LoopDelay {
  #last = performance.now()
  #held: { readonly at: number; readonly ms: number }[] = []
  readonly #timer: NodeJS.Timeout

  constructor() {
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  /** The longest since `from` (monotonic ms), in ms. */
  longestSince(from: number): number {
    let longest = 0
    for (const { at, ms } of this.#held) if (at >= from && ms > longest) longest = ms
    return longest
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const at = performance.now()
    const ms = at - this.#last - EVERY_MS
    this.#last = at
    if (ms <= 5) return
    this.#held.push({ at, ms })
    if (this.#held.length > 10_000) this.#held = this.#held.filter(({ at: then }) => at - then < MEMORY_MS).slice(-5000)
  }
}
