/** The kinds of plain values: durations, sizes, numbers, words, addresses. Ranges are given by the schema. */
import { isIP } from 'node:net'
import type { AddressConfig } from './config.ts'
import { DURATION_PATTERN, formatDuration, LONGEST_MS, parseDuration } from './duration.ts'
import { resolveCore } from './env.ts'
import { isOff, type Kind, scalar } from './kind.ts'
import { formatSize, parseRate, parseSize, SIZE_PATTERN } from './size.ts'
import type { ScalarNode } from './source.ts'
import { didYouMean } from './words.ts'

const DURATIONS = `1ms to ${formatDuration(LONGEST_MS)}, as 250ms, 5s, 2m or 1h`

/** Milliseconds. */
export const duration: Kind<number> = scalar(
  { type: 'duration', allowed: DURATIONS, json: { type: 'string', pattern: DURATION_PATTERN } },
  node => (isOff(node) ? { wrong: 'this one cannot be off' } : parseDurationNode(node, false)),
)

/** Milliseconds, or Infinity where it is `off`. */
export const durationOrOff: Kind<number> = scalar(
  {
    type: 'duration or off',
    allowed: `${DURATIONS}, or off`,
    json: { anyOf: [{ type: 'string', pattern: DURATION_PATTERN }, { enum: ['off', false] }] },
  },
  node => (isOff(node) ? { value: Number.POSITIVE_INFINITY } : parseDurationNode(node, true)),
)

function parseDurationNode(node: ScalarNode, canBeOff: boolean): ReturnType<typeof parseDuration> {
  if (node.value === 0 || node.value === '0') return { wrong: zero(canBeOff) }
  if (typeof node.value !== 'string') {
    return typeof node.value === 'number' ? parseDuration(node.text) : { wrong: 'not a duration' }
  }
  const parsed = parseDuration(node.value)
  return 'wrong' in parsed && parsed.wrong === 'zero is not a duration' ? { wrong: zero(canBeOff) } : parsed
}

function zero(canBeOff: boolean): string {
  return canBeOff ? 'zero is not a duration; "no limit" is spelled off' : 'zero is not a duration'
}

/** Bytes. */
export function size(range: { readonly min: number; readonly max: number }): Kind<number> {
  const allowed = `${formatSize(range.min)} to ${formatSize(range.max)}, as 512B, 16KiB, 10MiB or 1GiB`
  return scalar({ type: 'size', allowed, json: { type: 'string', pattern: SIZE_PATTERN } }, node =>
    within(
      range,
      typeof node.value === 'string' || typeof node.value === 'number' ? parseSize(node.text) : { wrong: 'not a size' },
    ),
  )
}

/** Bytes per second. */
export function rate(range: { readonly min: number; readonly max: number }): Kind<number> {
  const allowed = `${formatSize(range.min)}/s to ${formatSize(range.max)}/s, as 240B/s or 1KiB/s`
  return scalar({ type: 'rate', allowed, json: { type: 'string', pattern: SIZE_PATTERN.replace('$', '/s$') } }, node =>
    within(range, parseRate(node.text)),
  )
}

export function integer(range: { readonly min: number; readonly max: number }): Kind<number> {
  const allowed = `${range.min} to ${range.max}`
  const json = { type: 'integer', minimum: range.min, maximum: range.max }
  return scalar({ type: 'integer', allowed, json }, node => {
    const value = coreValue(node)
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) return { wrong: 'not a whole number' }
    return within(range, { value })
  })
}

/** Percent, with decimals. */
export function percent(range: { readonly above: number; readonly below: number }): Kind<number> {
  const allowed = `above ${range.above} and below ${range.below}, as 99.9`
  const json = { type: 'number', exclusiveMinimum: range.above, exclusiveMaximum: range.below }
  return scalar({ type: 'percent', allowed, json }, node => {
    const value = coreValue(node)
    if (typeof value !== 'number' || !Number.isFinite(value)) return { wrong: 'not a number' }
    if (value <= range.above) return { wrong: 'too small' }
    return value >= range.below ? { wrong: 'too large' } : { value }
  })
}

export const boolean: Kind<boolean> = scalar(
  { type: 'boolean', allowed: 'true or false', json: { type: 'boolean' } },
  node => {
    const value = coreValue(node)
    return typeof value === 'boolean' ? { value } : { wrong: 'not true or false' }
  },
)

export function oneOf<const W extends string>(...words: readonly W[]): Kind<W> {
  return scalar({ type: 'word', allowed: words.join(' | '), json: { enum: words } }, node => {
    const value = words.find(word => word === node.value)
    return value === undefined ? { wrong: `not one of the words${didYouMean(node.text, words)}` } : { value }
  })
}

/** As `oneOf`, with the word `off`, which YAML 1.1 reads as `false`. */
export function offOr<const W extends string>(...words: readonly W[]): Kind<W | 'off'> {
  const all = ['off', ...words] as const
  return scalar({ type: 'word', allowed: all.join(' | '), json: { enum: [...all, false] } }, node => {
    const value = isOff(node) ? 'off' : words.find(word => word === node.value)
    return value === undefined ? { wrong: `not one of the words${didYouMean(node.text, all)}` } : { value }
  })
}

/**
 * Text is taken as it was written: `X-Version: 1.0` and a numeric `${TOKEN}` are text too.
 * `parse` gives what is wrong with it, or null.
 */
export function text(
  description: { readonly type: string; readonly allowed: string; readonly json?: object; readonly secret?: boolean },
  wrong: (text: string) => string | null,
): Kind<string> {
  return scalar({ ...description, json: { type: 'string', ...description.json } }, node => {
    if (node.value === null) return { wrong: `not a ${description.type}` }
    const message = wrong(node.text)
    return message === null ? { value: node.text } : { wrong: message, hide: description.secret === true }
  })
}

const HOST_AND_PORT = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]{1,5})$/
export const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$/

/** Port 0 lets the kernel choose. */
export const address: Kind<AddressConfig> = scalar(
  {
    type: 'address',
    allowed: 'HOST:PORT or [IPv6]:PORT, port 0 to 65535',
    json: { type: 'string', pattern: '^(?:\\[[^\\]]+\\]|[^:\\[\\]]+):[0-9]{1,5}$' },
  },
  node => {
    const match = typeof node.value === 'string' ? HOST_AND_PORT.exec(node.value) : null
    if (match === null) return { wrong: 'not an address with a port' }
    const [, v6, name, digits] = match
    const port = Number(digits)
    if (port > 65535) return { wrong: 'no such port' }
    if (v6 !== undefined)
      return isIP(v6) === 6 ? { value: { host: v6, port } } : { wrong: 'not an IPv6 address in the brackets' }
    return name !== undefined && isHost(name)
      ? { value: { host: name, port } }
      : { wrong: 'not a host name or IP address' }
  },
)

/** A host name or an IPv4 address; `1.2.3` and `300.1.1.1` are neither. */
export function isHost(host: string): boolean {
  return isIP(host) === 4 || (HOST_NAME.test(host) && !/^[0-9.]+$/.test(host))
}

function within(
  range: { readonly min: number; readonly max: number },
  parsed: ReturnType<typeof parseSize>,
): typeof parsed {
  if ('wrong' in parsed) return parsed
  if (parsed.value < range.min) return { wrong: 'too small' }
  return parsed.value > range.max ? { wrong: 'too large' } : parsed
}

/** `"${MAX}"` counts as the number it stands for: inside `{ }` YAML has no way to write it without quotes. */
function coreValue(node: ScalarNode): ScalarNode['value'] {
  return node.template === null ? node.value : resolveCore(node.text)
}
