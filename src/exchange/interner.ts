/**
 * What routes have in common is made once: with hundreds of routes, what each has for itself is never in the processor's
 * cache when its next request comes (measured with 500: docs/benchmarks.md, W8).
 */

/** @param key JSON values; all that `make` depends on, and what it makes */
export type Intern = <T>(key: readonly unknown[], make: () => T) => T

export function interner(): Intern {
  const known = new Map<string, unknown>()
  return <T>(key: readonly unknown[], make: () => T): T => {
    const text = JSON.stringify(key)
    if (!known.has(text)) known.set(text, make())
    return known.get(text) as T
  }
}
