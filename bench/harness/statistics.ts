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

/** Ratios of neighbours in time: what slows the machine for a while slows both. A pair with a NaN is left out. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((value, i) => value / (theirs[i] ?? Number.NaN)).filter(Number.isFinite)
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
