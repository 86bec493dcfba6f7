import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatDuration, parseDuration } from '../../src/config/duration.ts'
import { expandEnv, resolveCore } from '../../src/config/env.ts'
import { formatSize, parseRate, parseSize } from '../../src/config/size.ts'
import { didYouMean } from '../../src/config/words.ts'

const DURATIONS: readonly (readonly [string, number | string])[] = [
  ['250ms', 250],
  ['1ms', 1],
  ['5s', 5000],
  ['1.5s', 1500],
  ['1.1s', 1100],
  ['0.001s', 1],
  ['2m', 120_000],
  ['0.5m', 30_000],
  ['1h', 3_600_000],
  ['24h', 86_400_000],
  ['24.1h', 'too long'],
  ['99999999999h', 'too long'],
  ['0s', 'zero is not a duration'],
  ['0.0h', 'zero is not a duration'],
  ['0.5ms', 'finer than a millisecond'],
  ['1.0005s', 'finer than a millisecond'],
  ['-1s', 'a duration cannot be negative'],
  ['5', 'a duration needs a unit'],
  ['5.5', 'a duration needs a unit'],
  ['5 s', 'not a duration'],
  [' 5s', 'not a duration'],
  ['5s\n', 'not a duration'],
  ['5S', 'not a duration'],
  ['.5s', 'not a duration'],
  ['5.s', 'not a duration'],
  ['1e3s', 'not a duration'],
  ['1m30s', 'not a duration'],
  ['1d', 'not a duration'],
  ['', 'not a duration'],
  ['Infinity', 'not a duration'],
  ['٣s', 'not a duration'],
]

const SIZES: readonly (readonly [string, number | string])[] = [
  ['1B', 1],
  ['512B', 512],
  ['16KiB', 16384],
  ['1.5KiB', 1536],
  ['10MiB', 10_485_760],
  ['1GiB', 1_073_741_824],
  ['0B', 'zero is not a size'],
  ['0.3B', 'not a whole number of bytes'],
  ['9999999999GiB', 'too large'],
  ['10', 'a size needs a unit'],
  ['10MB', 'not a size, did you mean 10MiB?'],
  ['10m', 'not a size, did you mean 10MiB?'],
  ['10mib', 'not a size, did you mean 10MiB?'],
  ['10 KiB', 'not a size, did you mean 10KiB?'],
  ['10TiB', 'not a size'],
  ['-1B', 'not a size'],
  ['off', 'not a size'],
]

function outcomeOf(parsed: { readonly value: number } | { readonly wrong: string }): number | string {
  return 'value' in parsed ? parsed.value : parsed.wrong
}

test('a duration is one number and one unit, in whole milliseconds up to 24 h', () => {
  for (const [text, expected] of DURATIONS) assert.equal(outcomeOf(parseDuration(text)), expected, JSON.stringify(text))
})

test('a formatted duration reads back as the same milliseconds', () => {
  for (const ms of [1, 999, 1000, 1500, 1001, 75_000, 60_000, 90_000, 300_000, 3_600_000, 5_400_000, 86_400_000]) {
    assert.equal(outcomeOf(parseDuration(formatDuration(ms))), ms, formatDuration(ms))
  }
  assert.equal(formatDuration(Number.POSITIVE_INFINITY), 'off')
  assert.equal(formatDuration(75_000), '75s')
  assert.equal(formatDuration(300_000), '5m')
})

test('a size is in powers of 1024, and what people write instead is guessed', () => {
  for (const [text, expected] of SIZES) assert.equal(outcomeOf(parseSize(text)), expected, JSON.stringify(text))
})

test('a formatted size reads back as the same bytes', () => {
  for (const bytes of [1, 512, 1024, 1536, 16384, 10_485_760, 1_073_741_824]) {
    assert.equal(outcomeOf(parseSize(formatSize(bytes))), bytes, formatSize(bytes))
  }
})

test('a rate is a size per second', () => {
  assert.equal(outcomeOf(parseRate('240B/s')), 240)
  assert.equal(outcomeOf(parseRate('1KiB/s')), 1024)
  assert.equal(outcomeOf(parseRate('0B/s')), 'zero is not a rate')
  assert.equal(outcomeOf(parseRate('240B')), 'not a rate')
  assert.equal(outcomeOf(parseRate('240B/m')), 'not a rate')
})

test('environment references expand once, and only well-formed ones', () => {
  const env = { A: 'x', EMPTY: '', SNEAKY: '$' + '{A}' }
  const cases: readonly (readonly [string, string])[] = [
    ['plain', 'plain'],
    ['$A', '$A'],
    ['$' + '{A}', 'x'],
    ['a-$' + '{A}-$' + '{A}', 'a-x-x'],
    ['$' + '{EMPTY}', ''],
    ['$' + '{EMPTY:-d}', 'd'],
    ['$' + '{NONE:-d}', 'd'],
    ['$' + '{NONE:-}', ''],
    ['$' + '{NONE:-a:-b}', 'a:-b'],
    ['$' + '{SNEAKY}', '$' + '{A}'],
    ['$$' + '{A}', '$' + '{A}'],
  ]
  for (const [text, expected] of cases) assert.deepEqual(expandEnv(text, env), { text: expected, wrong: [] }, text)
  for (const text of ['{NONE}', '{}', '{a b}', '{A', '{A:d}', '{toString}', '{__proto__}']) {
    assert.equal(expandEnv(`$${text}`, env).wrong.length, 1, text)
  }
})

test('an unquoted value has the type that YAML would give it', () => {
  const cases: readonly (readonly [string, unknown])[] = [
    ['', null],
    ['~', null],
    ['null', null],
    ['true', true],
    ['False', false],
    ['12', 12],
    ['-1', -1],
    ['0x10', 16],
    ['0o17', 15],
    ['1.5', 1.5],
    ['1e3', 1000],
    ['.5', 0.5],
    ['off', 'off'],
    ['1_000', '1_000'],
    ['a: b', 'a: b'],
    ['[1]', '[1]'],
  ]
  for (const [text, expected] of cases) assert.equal(resolveCore(text), expected, text)
})

test('the nearest known word is suggested, a far one is not', () => {
  const known = ['connect', 'response_headers', 'queue']
  assert.equal(didYouMean('conect', known), ', did you mean "connect"?')
  assert.equal(didYouMean('responseHeaders', known), ', did you mean "response_headers"?')
  assert.equal(didYouMean('queeu', known), ', did you mean "queue"?')
  assert.equal(didYouMean('zebra', known), '')
  assert.equal(didYouMean('x'.repeat(100_000), known), '')
  assert.equal(didYouMean('x', []), '')
})
