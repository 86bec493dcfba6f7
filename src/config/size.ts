/** Sizes and rates as operators write them, in powers of 1024: `512B`, `16KiB`, `10MiB`, `1GiB`, `240B/s`. Inside: bytes. */
import type { Parsed } from './duration.ts'

const UNITS_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const
type SizeUnit = keyof typeof UNITS_BYTES

export const SIZE_PATTERN = '^([0-9]+(?:\\.[0-9]+)?)(B|KiB|MiB|GiB)$'
const SIZE = new RegExp(SIZE_PATTERN)

/** Whole bytes, 1 to `Number.MAX_SAFE_INTEGER`; the range that a key allows is the key's. */
export function parseSize(text: string): Parsed<number> {
  const match = SIZE.exec(text)
  if (match === null) return { wrong: wrongSize(text) }
  const bytes = Number(match[1]) * UNITS_BYTES[match[2] as SizeUnit] // the pattern admits no other unit
  if (bytes === 0) return { wrong: 'zero is not a size' }
  if (!Number.isInteger(bytes)) return { wrong: 'not a whole number of bytes' }
  return Number.isSafeInteger(bytes) ? { value: bytes } : { wrong: 'too large' }
}

/** Bytes per second. */
export function parseRate(text: string): Parsed<number> {
  if (!text.endsWith('/s')) return { wrong: 'not a rate' }
  const size = parseSize(text.slice(0, -'/s'.length))
  return 'wrong' in size && size.wrong === 'zero is not a size' ? { wrong: 'zero is not a rate' } : size
}

/** The largest unit that gives a whole number: `10MiB`, `1536B` as `1.5KiB` never, so that it reads back exactly. */
export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB'] as const) {
    if (bytes % UNITS_BYTES[unit] === 0) return `${bytes / UNITS_BYTES[unit]}${unit}`
  }
  return `${bytes}B`
}

/** `10MB`, `10M` and `10mib` are what people write first. */
function wrongSize(text: string): string {
  const near = /^(\d+(?:\.\d+)?) ?([kmg])i?b?$/i.exec(text)
  if (near !== null) return `not a size, did you mean ${near[1]}${near[2]?.toUpperCase()}iB?`
  return /^\d+(\.\d+)?$/.test(text) ? 'a size needs a unit' : 'not a size'
}
