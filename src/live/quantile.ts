/** Percentiles of what fell into the buckets of a histogram. */

/**
 * As Prometheus' `histogram_quantile` reckons: linear within the bucket, and the highest bound for what lies above it, so
 * that the live page and a dashboard show the same.
 * @param bounds upper bounds, ascending
 * @param counts per bucket, not cumulative; one more than bounds
 * @param from where the counts begin in `counts`
 * @returns in the unit of the bounds; NaN: nothing was counted
 */
export function quantile(share: number, bounds: readonly number[], counts: ArrayLike<number>, from = 0): number {
  let all = 0
  for (let i = 0; i <= bounds.length; i++) all += counts[from + i] ?? 0
  if (all === 0) return Number.NaN
  const rank = share * all
  let below = 0
  for (let i = 0; i < bounds.length; i++) {
    const here = counts[from + i] ?? 0
    if (here > 0 && below + here >= rank) {
      const lower = i === 0 ? 0 : (bounds[i - 1] ?? 0)
      return lower + ((bounds[i] ?? 0) - lower) * ((rank - below) / here)
    }
    below += here
  }
  return bounds.at(-1) ?? Number.NaN
}
