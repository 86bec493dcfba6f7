/**
 * The last 15 minutes in numbers, in memory of fixed size: for each route what ended in each band and how long it took,
 * for each upstream its connections and its queue. Reckoned from the cells of the metrics, once every 5 s; an exchange
 * does nothing for it.
 */
import { DURATION_BUCKETS } from '../observe/cells.ts'
import type { RouteMetrics } from '../observe/route-metrics.ts'
import { BANDS, bandOf } from './bands.ts'
import { quantile } from './quantile.ts'

export const SAMPLE_MS = 5000
/** 15 minutes. */
export const SAMPLES = 180
/** The percentiles that are shown as a number are those of the last minute. */
const MINUTE_SAMPLES = 60_000 / SAMPLE_MS

const WIDTH = BANDS.length
const BUCKETS = DURATION_BUCKETS.length + 1

/** Percentiles in seconds; NaN: nothing ended. */
export interface Minute {
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

/** Seconds, per sample, oldest first; null: nothing ended. */
interface Percentiles {
  readonly p50: readonly (number | null)[]
  readonly p99: readonly (number | null)[]
}

export interface RouteSeries extends Percentiles {
  /** By band: how many ended, per sample, oldest first; null: none at all. */
  readonly bands: readonly (readonly number[] | null)[]
}

/** How long the exchanges took, per sample and over the last minute. */
class Durations {
  readonly percentiles = new Float32Array(SAMPLES * 2).fill(Number.NaN)
  readonly #minute = new Uint32Array(MINUTE_SAMPLES * BUCKETS)

  /** @param counts per bucket, of those that ended since the last sample */
  sample(slot: number, turn: number, counts: Uint32Array): void {
    this.#minute.set(counts, (turn % MINUTE_SAMPLES) * BUCKETS)
    this.percentiles[slot * 2] = quantile(0.5, DURATION_BUCKETS, counts)
    this.percentiles[slot * 2 + 1] = quantile(0.99, DURATION_BUCKETS, counts)
  }

  minute(): Minute {
    const sum = new Float64Array(BUCKETS)
    this.#minute.forEach((count, i) => {
      sum[i % BUCKETS] = (sum[i % BUCKETS] ?? 0) + count
    })
    const at = (share: number): number => quantile(share, DURATION_BUCKETS, sum)
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
  }

  static readonly bytes = SAMPLES * 2 * 4 + MINUTE_SAMPLES * BUCKETS * 4
}

class RouteRing {
  readonly cells: RouteMetrics
  readonly bands = new Uint32Array(SAMPLES * WIDTH)
  readonly durations = new Durations()
  /** What the counters, and the histograms, said at the last sample. */
  readonly #totals = new Float64Array(WIDTH)
  readonly #buckets = new Float64Array(BUCKETS)

  constructor(cells: RouteMetrics) {
    this.cells = cells
  }

  /** @param all is added to, per bucket */
  sample(slot: number, turn: number, all: Uint32Array): void {
    totalsOf(this.cells, totalsNow)
    for (let band = 0; band < WIDTH; band++) {
      const total = totalsNow[band] ?? 0
      this.bands[slot * WIDTH + band] = total - (this.#totals[band] ?? 0)
      this.#totals[band] = total
    }
    bucketsNow.fill(0)
    for (const [outcome, cell] of this.cells.durations) {
      // How long a tunnel was open says nothing of how long an answer takes.
      if (outcome.startsWith('tunnel_')) continue
      for (let i = 0; i < BUCKETS; i++) bucketsNow[i] = (bucketsNow[i] ?? 0) + cell.bucket(i)
    }
    for (let i = 0; i < BUCKETS; i++) {
      const total = bucketsNow[i] ?? 0
      const ended = total - (this.#buckets[i] ?? 0)
      endedNow[i] = ended
      all[i] = (all[i] ?? 0) + ended
      this.#buckets[i] = total
    }
    this.durations.sample(slot, turn, endedNow)
  }

  static readonly bytes = SAMPLES * WIDTH * 4 + Durations.bytes + (WIDTH + BUCKETS) * 8
}

// Of the sample that is being taken; nobody else is in between.
const totalsNow = new Float64Array(WIDTH)
const bucketsNow = new Float64Array(BUCKETS)
const endedNow = new Uint32Array(BUCKETS)
const allNow = new Uint32Array(BUCKETS)

/** Adds nothing up that is not in `hopgate_requests_total`. @param into by band; longer is allowed */
export function totalsOf(cells: RouteMetrics, into: Float64Array): void {
  into.fill(0)
  for (const { outcome, status, count } of cells.requests.values()) {
    const band = bandOf(outcome, status)
    into[band] = (into[band] ?? 0) + count
  }
}

export interface UpstreamGauges {
  readonly active: number
  readonly queued: number
}

export class History {
  readonly #routes: readonly RouteRing[]
  readonly #gauges: () => readonly UpstreamGauges[]
  /** Two numbers per upstream and sample: active connections, and exchanges in the queue. */
  readonly #upstreams: readonly Uint32Array[]
  /** ms since the epoch. */
  readonly #times = new Float64Array(SAMPLES)
  readonly #all = new Durations()
  #taken = 0

  constructor(routes: readonly RouteMetrics[], upstreams: number, gauges: () => readonly UpstreamGauges[]) {
    this.#routes = routes.map(cells => new RouteRing(cells))
    this.#gauges = gauges
    this.#upstreams = Array.from({ length: upstreams }, () => new Uint32Array(SAMPLES * 2))
  }

  /** Samples taken since the start. */
  get taken(): number {
    return this.#taken
  }

  /** 200 routes: 0.1 ms (measured). @param timeMs since the epoch */
  sample(timeMs: number): void {
    const slot = this.#taken % SAMPLES
    this.#times[slot] = timeMs
    allNow.fill(0)
    for (const ring of this.#routes) ring.sample(slot, this.#taken, allNow)
    this.#all.sample(slot, this.#taken, allNow)
    this.#gauges().forEach(({ active, queued }, i) => {
      this.#upstreams[i]?.set([active, queued], slot * 2)
    })
    this.#taken++
  }

  /** ms since the epoch, oldest first. */
  times(): number[] {
    return this.#slots().map(slot => this.#times[slot] ?? 0)
  }

  route(index: number): RouteSeries {
    const bands = this.#routes[index]?.bands
    return {
      bands: BANDS.map((_, band) => {
        const counts = this.#slots().map(slot => bands?.[slot * WIDTH + band] ?? 0)
        return counts.every(count => count === 0) ? null : counts
      }),
      ...this.#percentiles(this.#routes[index]?.durations),
    }
  }

  /** Of all routes together. */
  all(): Percentiles {
    return this.#percentiles(this.#all)
  }

  /** Of the latest sample. */
  latest(index: number) {
    const ring = this.#routes[index]
    return {
      bands: BANDS.map((_, band) => ring?.bands[this.#latestSlot * WIDTH + band] ?? 0),
      ...this.#latestPercentiles(ring?.durations),
    }
  }

  latestOfAll() {
    return this.#latestPercentiles(this.#all)
  }

  latestUpstream(index: number): UpstreamGauges {
    const numbers = this.#upstreams[index]
    const slot = this.#latestSlot
    return { active: numbers?.[slot * 2] ?? 0, queued: numbers?.[slot * 2 + 1] ?? 0 }
  }

  upstream(index: number): { readonly active: readonly number[]; readonly queued: readonly number[] } {
    const slots = this.#slots()
    const numbers = this.#upstreams[index]
    return {
      active: slots.map(slot => numbers?.[slot * 2] ?? 0),
      queued: slots.map(slot => numbers?.[slot * 2 + 1] ?? 0),
    }
  }

  /** Of the last minute, or of all routes where no index is given. */
  minute(index?: number): Minute {
    const durations = index === undefined ? this.#all : this.#routes[index]?.durations
    return durations?.minute() ?? { p50: Number.NaN, p90: Number.NaN, p99: Number.NaN }
  }

  /** What the arrays hold, in bytes: fixed at the start. */
  get bytes(): number {
    return this.#routes.length * RouteRing.bytes + this.#upstreams.length * SAMPLES * 8 + SAMPLES * 8 + Durations.bytes
  }

  #percentiles(durations: Durations | undefined): Percentiles {
    const read = (at: number) => this.#slots().map(slot => orNull(durations?.percentiles[slot * 2 + at]))
    return { p50: read(0), p99: read(1) }
  }

  #latestPercentiles(durations: Durations | undefined) {
    const read = (at: number) => orNull(durations?.percentiles[this.#latestSlot * 2 + at])
    return { p50: read(0), p99: read(1) }
  }

  get #latestSlot(): number {
    return (this.#taken + SAMPLES - 1) % SAMPLES
  }

  #slots(): number[] {
    const kept = Math.min(this.#taken, SAMPLES)
    return Array.from({ length: kept }, (_, n) => (this.#taken - kept + n) % SAMPLES)
  }
}

/** To the tenth of a millisecond, which is more than a bucket tells. */
function orNull(seconds = Number.NaN): number | null {
  return Number.isNaN(seconds) ? null : Math.round(seconds * 1e4) / 1e4
}
