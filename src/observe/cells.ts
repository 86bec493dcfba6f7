/** Series of metrics as numbers in place: what a finished exchange adds to, and what a scrape reads. */

/**
 * Label names and values of a series. Made once per series and kept: prom-client remembers the text of the very object
 * it was handed (a WeakMap keyed by it), so a scrape formats no label twice.
 */
export type Labels = Readonly<Record<string, string>>

/** A series of a counter. */
export interface CountCell {
  readonly labels: Labels
  count: number
}

/**
 * Seconds. They end at and around the timeouts people usually configure (contract, section 4), so that callers who
 * leave at their own 2 s or 5 s show as a step.
 */
export const DURATION_BUCKETS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60,
]

/** Seconds. The promise is 20 ms from cause to closed socket; a healthy gateway stays in the first few. */
export const CANCEL_BUCKETS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1]

/** Seconds. The promise is max(50 ms, 2 %): 0.05 for the short timeouts, 0.2 for one of 10 s. */
export const OVERRUN_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]

/** Numbers before the buckets: the sum and the count. */
const BUCKETS_AT = 2

/** How many numbers the histogram of these bounds takes: its last bucket is above all of them. */
export function histogramLength(bounds: readonly number[]): number {
  return BUCKETS_AT + bounds.length + 1
}

/**
 * Adds an observation to the histogram that begins at `at`. A linear scan: most exchanges end in the first buckets, where
 * it beats bisection.
 */
export function observe(numbers: Float64Array, at: number, bounds: readonly number[], seconds: number): void {
  // One NaN would poison the sum for the life of the process; a clock that was read twice in the wrong order is 0.
  let value = seconds
  if (!(value > 0)) value = 0
  let index = at + BUCKETS_AT
  for (const bound of bounds) {
    if (value <= bound) break
    index++
  }
  numbers[index] = (numbers[index] ?? 0) + 1
  numbers[at] = (numbers[at] ?? 0) + value
  numbers[at + 1] = (numbers[at + 1] ?? 0) + 1
}

/** A series of a histogram: its labels, and where its numbers are. */
export class HistogramCell {
  readonly labels: Labels
  /** Upper bounds in seconds, ascending, each inclusive. */
  readonly bounds: readonly number[]
  readonly #numbers: Float64Array
  readonly #at: number

  /** @param numbers where it has its place, from `at` on; its own where it stands alone */
  constructor(
    bounds: readonly number[],
    labels: Labels,
    numbers: Float64Array = new Float64Array(histogramLength(bounds)),
    at = 0,
  ) {
    this.bounds = bounds
    this.labels = labels
    this.#numbers = numbers
    this.#at = at
  }

  get sum(): number {
    return this.#numbers[this.#at] ?? 0
  }

  get count(): number {
    return this.#numbers[this.#at + 1] ?? 0
  }

  /** Observations in the bucket of this index, not cumulative. */
  bucket(index: number): number {
    return this.#numbers[this.#at + BUCKETS_AT + index] ?? 0
  }

  observe(seconds: number): void {
    observe(this.#numbers, this.#at, this.bounds, seconds)
  }
}
