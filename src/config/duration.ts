/** Durations as operators write them: one number and one unit, `250ms`, `5s`, `1.5m`, `1h`. Inside the gateway: milliseconds. */

/** Above this a native timer would not wait but fire at once: setTimeout takes a signed 32-bit count of ms (24.8 days). */
export const LONGEST_MS = 24 * 60 * 60 * 1000

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** Of JSON Schema and of the parser alike. */
export const DURATION_PATTERN = '^([0-9]+(?:\\.[0-9]+)?)(ms|s|m|h)$'
const DURATION = new RegExp(DURATION_PATTERN)

/** `hide`: what was got holds a secret and is not to be printed. */
export type Parsed<T> = { readonly value: T } | { readonly wrong: string; readonly hide?: boolean }

/** Milliseconds, 1 to `LONGEST_MS`. `off` is not a duration: whoever allows it handles it before. */
export function parseDuration(text: string): Parsed<number> {
  const match = DURATION.exec(text)
  if (match === null) {
    if (/^-/.test(text)) return { wrong: 'a duration cannot be negative' }
    return { wrong: /^\d+(\.\d+)?$/.test(text) ? 'a duration needs a unit' : 'not a duration' }
  }
  const exactMs = Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS] // the pattern admits no other unit
  if (exactMs === 0) return { wrong: 'zero is not a duration' }
  // 1.1s is 1100.0000000000002 in binary: a thousandth of a millisecond is the arithmetic's, not the operator's.
  const ms = Math.round(exactMs)
  if (ms < 1 || Math.abs(exactMs - ms) > 0.001) return { wrong: 'finer than a millisecond' }
  return ms > LONGEST_MS ? { wrong: 'too long' } : { value: ms }
}

/** The shortest spelling that reads back as the same milliseconds: `250ms`, `1.5s`, `75s`, `2m`, `off`. */
export function formatDuration(ms: number): string {
  if (ms === Number.POSITIVE_INFINITY) return 'off'
  if (ms % UNITS_MS.h === 0) return `${ms / UNITS_MS.h}h`
  if (ms % UNITS_MS.m === 0) return `${ms / UNITS_MS.m}m`
  return ms < UNITS_MS.s ? `${ms}ms` : `${ms / UNITS_MS.s}s`
}
