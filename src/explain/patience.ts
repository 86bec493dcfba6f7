/**
 * How long clients waited before they left, and the peaks in it: many that leave at the same age share a timeout.
 * Bounded memory, whatever the log: ages are counted in bins that are 1 % wide.
 */
import type { Facts } from './facts.ts'

/** Of clients that left at about the same age. */
export interface Peak {
  /** Ages in ms, inclusive. */
  readonly fromMs: number
  readonly toMs: number
  readonly count: number
  /** The round number nearby: what somebody wrote into a configuration. */
  readonly probablyMs: number
}

/** A bin is this much wider than the one below it. */
const RATIO = 1.01
const LOG_RATIO = Math.log(RATIO)
/** A timeout shows as a peak not wider than this many bins, 6 %: it fires late under load, and the network adds to it. */
const PEAK_BINS = 6
const LEAST_COUNT = 5
/** Even if all ages below 10 s were equally likely, no window would hold more than 6 %. */
const LEAST_SHARE = 0.15
const MOST_PEAKS = 3
/** Names of routes come from a file that anybody may have written. */
const MOST_ROUTES = 1000

const ROUND = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 7.5, 8, 9, 10, 12, 15, 20, 25, 30, 40, 45, 50, 60, 75, 80, 90, 100]
const ROUND_WITHIN = 0.06

export class Patience {
  readonly #routes = new Map<string, Map<number, number>>()
  readonly #peaks = new Map<string, readonly Peak[]>()

  /** Counts a client that left; others are passed over. */
  add({ outcome, clientAbortAge, route }: Facts): void {
    if (outcome !== 'client_abort' || !(clientAbortAge >= 0)) return
    let bins = this.#routes.get(route)
    if (bins === undefined) {
      if (this.#routes.size >= MOST_ROUTES) return
      bins = new Map()
      this.#routes.set(route, bins)
    }
    const bin = binOf(clientAbortAge)
    bins.set(bin, (bins.get(bin) ?? 0) + 1)
    this.#peaks.delete(route)
  }

  routes(): readonly string[] {
    return [...this.#routes.keys()]
  }

  count(route: string): number {
    return [...(this.#routes.get(route)?.values() ?? [])].reduce((sum, n) => sum + n, 0)
  }

  /** How many left at each age: lower bounds in ms, ascending. */
  ages(route: string): readonly (readonly [ms: number, count: number])[] {
    return [...(this.#routes.get(route) ?? [])].map(([bin, n]) => [msOf(bin), n] as const).sort(([a], [b]) => a - b)
  }

  /** The largest first. */
  peaks(route: string): readonly Peak[] {
    let peaks = this.#peaks.get(route)
    if (peaks === undefined) {
      peaks = this.#find(route)
      this.#peaks.set(route, peaks)
    }
    return peaks
  }

  /** The peak that this client belongs to. */
  peakOf({ outcome, clientAbortAge, route }: Facts): Peak | undefined {
    if (outcome !== 'client_abort') return undefined
    return this.peaks(route).find(({ fromMs, toMs }) => clientAbortAge >= fromMs && clientAbortAge <= toMs)
  }

  #find(route: string): readonly Peak[] {
    const left = new Map(this.#routes.get(route))
    const all = this.count(route)
    const peaks: Peak[] = []
    while (peaks.length < MOST_PEAKS) {
      const { first, count } = fullest(left)
      if (count < LEAST_COUNT || count < all * LEAST_SHARE) break
      const [fromMs, toMs] = [msOf(first), msOf(first + PEAK_BINS)]
      peaks.push({ fromMs, toMs, count, probablyMs: roundNear(middle(left, first, count)) })
      // What stands beside a peak is its foot, and no second one.
      for (let bin = first - PEAK_BINS; bin < first + 2 * PEAK_BINS; bin++) left.delete(bin)
    }
    return peaks
  }
}

/** The window of `PEAK_BINS` that holds the most. */
function fullest(bins: ReadonlyMap<number, number>): { readonly first: number; readonly count: number } {
  let best = { first: 0, count: 0 }
  for (const start of bins.keys()) {
    let count = 0
    for (let bin = start; bin < start + PEAK_BINS; bin++) count += bins.get(bin) ?? 0
    if (count > best.count || (count === best.count && start < best.first)) best = { first: start, count }
  }
  return best
}

/** The median of a window, ms. */
function middle(bins: ReadonlyMap<number, number>, first: number, count: number): number {
  let below = 0
  for (let bin = first; ; bin++) {
    below += bins.get(bin) ?? 0
    if (below * 2 >= count) return msOf(bin + 0.5)
  }
}

/** Ages below 1 ms are one bin. */
function binOf(ms: number): number {
  return Math.floor(Math.log(Math.max(1, ms)) / LOG_RATIO)
}

function msOf(bin: number): number {
  return RATIO ** bin
}

/** 1003 is 1000; where no round number is near, two digits of it. */
function roundNear(ms: number): number {
  const scale = 10 ** Math.floor(Math.log10(ms))
  const near = ROUND.map(round => round * scale).filter(round => Math.abs(round - ms) <= ms * ROUND_WITHIN)
  const nearest = near.sort((a, b) => Math.abs(a - ms) - Math.abs(b - ms))[0]
  return nearest ?? Math.round((ms / scale) * 10) * (scale / 10)
}
