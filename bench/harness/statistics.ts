export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  if (sorted.length === 0) return Number.NaN
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? upper) + upper) / 2 : upper
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
