/** The sentences, for every outcome: test/golden/explain/sentences.txt. UPDATE_GOLDEN=1 writes it anew: then read the diff. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Facts, factsOfLine, factsOfRecord } from '../../src/explain/facts.ts'
import { limitsOf } from '../../src/explain/limits.ts'
import { sentence } from '../../src/explain/sentence.ts'
import { spell, spellBytes } from '../../src/explain/words.ts'
import { accessLine, isoTime } from '../../src/observe/access-line.ts'
import { OUTCOMES, STAGES } from '../../src/outcome.ts'
import { config, record } from '../observe/fixtures.ts'
import { EXCHANGES } from './cases.ts'

const GOLDEN = fileURLToPath(new URL('../golden/explain/sentences.txt', import.meta.url))
const { UPDATE_GOLDEN } = process.env
const LIMITS = limitsOf(config)
const TIME = Date.UTC(2026, 10, 20, 14, 9, 48, 650)

function factsOf(line: string): Facts {
  const facts = factsOfLine(line)
  assert.ok(facts !== null, line)
  return facts
}

test('every outcome, in every stage it can have: the sentence with the configuration at hand, and without', () => {
  const told = EXCHANGES.map(each => {
    const facts = factsOf(String(accessLine(each, TIME)))
    const [full, bare] = [sentence(facts, LIMITS.get(facts.route) ?? null), sentence(facts, null)]
    return [`${each.requestId}: ${full}`, ...(bare === full ? [] : [`    without limits: ${bare}`]), ''].join('\n')
  })
  const text = told.join('\n')
  if (UPDATE_GOLDEN === '1') writeFileSync(GOLDEN, text)
  assert.equal(text, readFileSync(GOLDEN, 'utf8'))
  const outcomes = new Set<string>(EXCHANGES.map(({ outcome }) => outcome))
  assert.deepEqual([...outcomes].sort(), Object.keys(OUTCOMES).sort())
})

test('a record and the line that it becomes are told alike', () => {
  for (const each of EXCHANGES) {
    const ofLine = factsOf(String(accessLine(each, TIME)))
    const ofRecord = factsOfRecord(each, isoTime(TIME))
    const limits = LIMITS.get(ofLine.route) ?? null
    assert.equal(sentence(ofRecord, limits), sentence(ofLine, limits))
    assert.deepEqual({ ...ofRecord, times: null, clientAbortAge: 0 }, { ...ofLine, times: null, clientAbortAge: 0 })
  }
})

test('whatever is missing from a line, the sentence is one', () => {
  for (const outcome of Object.keys(OUTCOMES)) {
    for (const stage of [undefined, ...STAGES]) {
      const facts = factsOf(JSON.stringify({ msg: 'request', outcome, stage }))
      for (const limits of [
        null,
        LIMITS.get('orders') ?? null,
        LIMITS.get('events') ?? null,
        LIMITS.get('_none') ?? null,
      ]) {
        const text = sentence(facts, limits)
        assert.match(text, /^\S.*[.]$/)
        assert.doesNotMatch(text, /undefined|NaN|Infinity|null|-1| {2}|\.\.|\(\)|\n/, `${outcome} ${stage}: ${text}`)
      }
    }
  }
})

test('what the issue of a lost client looks like', () => {
  const times = { queue: 0, connect: 1, requestWrite: 1, responseHeaders: 1001, responseBody: -1, total: 1003.1 }
  const lost = record({
    endpointUrl: 'http://10.0.0.7:3001',
    outcome: 'client_abort',
    stage: 'response_headers',
    party: 'client',
    status: 499,
    clientAbortAge: 1003.1,
    times,
  })
  const limits = LIMITS.get('orders')
  assert.ok(limits !== undefined)
  const timeouts = new Map([...limits.timeouts, ['request', 8000], ['response_headers', 2000]] as const)
  assert.equal(
    sentence(factsOfRecord(lost, ''), { ...limits, timeouts }),
    'The client left 1003 ms after its request. orders (10.0.0.7:3001) had not sent headers; our limit was 2 s, the deadline 8 s.',
  )
})

test('a line that a stranger wrote holds nothing that a terminal would act on, and nothing endless', () => {
  const evil = '\u001b]0;x\u0007\u202e\r\n'
  const facts = factsOf(
    `kubectl | ${JSON.stringify({
      msg: 'request',
      outcome: 'connect_refused',
      stage: 'connect',
      upstream: evil,
      path: 'p'.repeat(100_000),
      status: 'no number',
      error: { code: evil, message: evil },
    })}`,
  )
  const text = `${sentence(facts, null)}${facts.path}`
  assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f\u202e]/)
  assert.ok(text.length < 600)
  assert.equal(facts.status, 0)
})

test('what is no access line gives no facts', () => {
  const others = [
    '',
    'plain text',
    '{',
    '[]',
    'null',
    '{"msg":"listening"}',
    '{"msg":"request"}',
    '{"msg":"request","outcome":"__proto__"}',
    '{"msg":"request","outcome":"vanished_into_thin_air"}',
    '{"msg":"request","outcome":3}',
  ]
  for (const line of others) assert.equal(factsOfLine(line), null, line)
})

test('durations and sizes are spelled for people', () => {
  const durations = [0, 0.42, 1, 502.181, 1000.4, 1003.4, 2000, 9999.6, 15_340, 60_000, 90_000, 300_000]
  assert.deepEqual(durations.map(spell), [
    '0.1 ms',
    '0.4 ms',
    '1 ms',
    '502 ms',
    '1 s',
    '1003 ms',
    '2 s',
    '10 s',
    '15.3 s',
    '1 min',
    '90 s',
    '5 min',
  ])
  const sizes = [0, 1, 812, 1024, 12_800, 10 * 2 ** 20, 3.25 * 2 ** 30]
  assert.deepEqual(sizes.map(spellBytes), ['no byte', '1 byte', '812 bytes', '1 KiB', '12.5 KiB', '10 MiB', '3.3 GiB'])
})
