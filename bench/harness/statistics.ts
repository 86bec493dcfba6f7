export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  if (sorted.length === 0) return Number.NaN
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? upper) + upper) / 2 : upper
}

/**
 * The lower quartile: of repeated measurements of one latency that of a quiet moment. What is measured is in every one of
 * them, what else the machine does only in some.
 */
export function quiet(values: readonly number[]): number {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 4)] ?? Number.NaN
}

/**
 * The median of the ratios of neighbours in time, so that what slows the machine for a while slows both.
 * @param theirs undefined, or NaN in one of them: that pair does not count
 */
export function pairedRatio(ours: readonly number[], theirs: readonly (number | undefined)[]): number {
  return median(ours.map((value, i) => value / (theirs[i] ?? Number.NaN)).filter(ratio => Number.isFinite(ratio)))
}

/** Everyone, each round starting with another, so that no one always follows the same neighbour. */
export function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const at = items.length === 0 ? 0 : by % items.length
  return [...items.slice(at), ...items.slice(0, at)]
}

/** Adds what went wrong in words: `status 502 x3`. */
export function reasons(why: Readonly<Record<string, number>>): string {
  return Object.entries(why)
    .map(([what, count]) => `${what} x${count}`)
    .join(', ')
}
