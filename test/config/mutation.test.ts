/** parseConfig answers for any text: whatever happens to a configuration, the answer is a value and never an exception. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseConfig } from '../../src/config/load.ts'

const ROUNDS = 600
const SEED = 20_240_607
const EXAMPLE = readFileSync(fileURLToPath(new URL('../../config/example.yaml', import.meta.url)), 'utf8')

/** mulberry32: a seed gives the same run again. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const SNIPPETS = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ': ',
  '- ',
  '\n',
  '\t',
  '"',
  "'",
  '#',
  '&a ',
  '*a',
  '!x ',
  '|',
  '>',
  '%',
  '@',
  '? ',
  '<<: *a',
  '---\n',
  '...\n',
  '%YAML 1.1\n---\n',
  '$' + '{',
  '$' + '{X}',
  '$' + '{X:-1}',
  '$$' + '{',
  '0',
  'off',
  'null',
  '-1',
  '1e999',
  '.nan',
  '__proto__: 1\n',
  'constructor',
  'é',
  '\u0000',
  '\ufeff',
  '\u2028',
  '😀',
  '\ud800',
]

function mutate(text: string, random: (below: number) => number): string {
  const at = random(text.length + 1)
  const length = random(12)
  const lines = text.split('\n')
  switch (random(5)) {
    case 0:
      return text.slice(0, at) + text.slice(at + length)
    case 1:
      return text.slice(0, at) + SNIPPETS[random(SNIPPETS.length)] + text.slice(at)
    case 2:
      return text.slice(0, at) + SNIPPETS[random(SNIPPETS.length)] + text.slice(at + length)
    case 3:
      return lines.toSpliced(random(lines.length), 1).join('\n')
    default:
      return lines.toSpliced(random(lines.length), 0, lines[random(lines.length)] ?? '').join('\n')
  }
}

function check(text: string): void {
  const result = parseConfig(text, { env: { X: '1' }, baseDir: '/' })
  if (result.ok) return
  assert.ok(result.errors.length > 0, `refused without a reason: ${JSON.stringify(text)}`)
  for (const { path, line, column, message } of result.errors) {
    assert.ok(
      path !== '' && message !== '' && line >= 1 && column >= 1,
      JSON.stringify({ path, line, column, message }),
    )
    assert.ok(!/[\n\r]/.test(path + message), `an error is one line: ${JSON.stringify({ path, message })}`)
  }
}

test(`${ROUNDS} mutations of the example are each read or refused with reasons`, () => {
  const random = randomOf(SEED)
  for (let round = 0; round < ROUNDS; round++) {
    let text = EXAMPLE
    for (let times = 1 + random(4); times > 0; times--) text = mutate(text, random)
    try {
      check(text)
    } catch (error) {
      assert.fail(`seed ${SEED}, round ${round}: ${String(error)}\n${text}`)
    }
  }
})

test('hostile texts are refused, quickly and with a reason', () => {
  const hostile = [
    '['.repeat(50_000),
    '- '.repeat(50_000),
    '? '.repeat(50_000),
    '{a: '.repeat(50_000),
    'a:\n'.repeat(20_000),
    'a: \t- b\n'.repeat(20_000),
    '\ta: [\n'.repeat(20_000),
    `x: ${'y'.repeat(2_000_000)}`,
    `${'k'.repeat(500_000)}: 1`,
    '\u0000',
    '\ud800',
    '*a',
    '&a *a',
    '&a [*a]',
    '{? }',
    '? : :',
    '"\\ud800": 1',
    'routes: [[[]]]',
    'routes: {0: {match: {path: /}}}',
    'upstreams: {__proto__: {endpoints: []}}',
    'constructor: 1\ntoString: 2\n__proto__: 3',
  ]
  for (const text of hostile) {
    const started = performance.now()
    assert.equal(parseConfig(text, { env: {}, baseDir: '/' }).ok, false)
    check(text)
    assert.ok(performance.now() - started < 5000, JSON.stringify(text.slice(0, 20)))
  }
})
