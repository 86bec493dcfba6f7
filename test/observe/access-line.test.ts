import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accessLevel, isoTime, accessLine as lineOf } from '../../src/observe/access-line.ts'
import { inQuotes } from '../../src/observe/json-writer.ts'
import type { ExchangeRecord } from '../../src/observe/record.ts'
import { OUTCOMES, type Outcome } from '../../src/outcome.ts'
import { record } from './fixtures.ts'

const accessLine = (record: ExchangeRecord, timeMs: number): string => String(lineOf(record, timeMs))

const TIME = Date.UTC(2026, 6, 31, 9, 5, 7, 42)

test('a completed exchange: every field in the order of the contract', () => {
  assert.equal(
    accessLine(record(), TIME),
    '{"time":"2026-07-31T09:05:07.042Z","level":"info","msg":"request",' +
      '"request_id":"0190a1b2-0000-7000-8000-000000000001","route":"orders","upstream":"orders",' +
      '"endpoint":"http://127.0.0.1:3001","method":"GET","host":"example.test","path":"/api/orders/7",' +
      '"proto":"HTTP/1.1","client":"127.0.0.1","status":200,"outcome":"completed","party":"none",' +
      '"rx_bytes":0,"tx_bytes":512,"aborted_write_bytes":0,"reused":true,"attempts":1,' +
      '"t_queue":0.012,"t_request_write":0.1,"t_response_headers":1.25,"t_response_body":0.5,"t_total":2}\n',
  )
})

test('a failure: its stage, its party, its level, and the original error', () => {
  const error = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:3001'), { code: 'ECONNREFUSED' })
  const times = { queue: 0, connect: 1.0006, requestWrite: -1, responseHeaders: -1, responseBody: -1, total: 1234.5 }
  const line = accessLine(
    record({
      outcome: 'connect_refused',
      stage: 'connect',
      party: 'upstream',
      status: 502,
      reused: false,
      times,
      error,
    }),
    TIME,
  )
  const end =
    '"status":502,"outcome":"connect_refused","stage":"connect","party":"upstream","rx_bytes":0,"tx_bytes":512,' +
    '"aborted_write_bytes":0,"reused":false,"attempts":1,"t_queue":0,"t_connect":1.001,"t_total":1234.5,' +
    '"error":{"code":"ECONNREFUSED","message":"connect ECONNREFUSED 127.0.0.1:3001"}}\n'
  assert.ok(line.endsWith(end), line)
  assert.match(line, /"level":"warn"/)
})

test('the timeout that ended it, and the age at which the client left', () => {
  const timedOut = accessLine(record({ outcome: 'connect_timeout', stage: 'dns', timeout: 'connect' }), TIME)
  assert.match(timedOut, /"t_total":2,"timeout":"connect"\}\n$/)
  const left = accessLine(record({ outcome: 'client_abort', status: 499, clientAbortAge: 1003.25 }), TIME)
  assert.match(left, /"t_total":2,"t_client_abort":1003\.25\}\n$/)
})

test('an error without a code goes by its name; of one that stands for several, the first speaks', () => {
  const told = (error: Error) => JSON.parse(accessLine(record({ outcome: 'internal_error', error }), TIME)).error
  assert.deepEqual(told(new TypeError('x')), { code: 'TypeError', message: 'x' })
  const refused = Object.assign(new Error('no'), { code: 'ECONNREFUSED' })
  assert.deepEqual(told(new AggregateError([refused], '')), { code: 'ECONNREFUSED', message: 'no' })
  assert.deepEqual(told(new AggregateError([], '')), { code: 'AggregateError', message: '' })
})

test("the level is the table's, but a completed 5xx is a warning", () => {
  assert.equal(accessLevel(record({ status: 404 })), 'info')
  assert.equal(accessLevel(record({ status: 500 })), 'warn')
  assert.equal(accessLevel(record({ outcome: 'client_abort', status: 499 })), 'info')
  assert.equal(accessLevel(record({ outcome: 'tls_error', status: 502 })), 'error')
})

test('durations have at most three decimals and no trailing zeros', () => {
  const total = (ms: number) =>
    /"t_total":([^,}]+)/.exec(accessLine(record({ times: { ...record().times, total: ms } }), 0))?.[1]
  assert.equal(total(0), '0')
  assert.equal(total(0.0004), '0')
  assert.equal(total(0.9996), '1')
  assert.equal(total(0.0601), '0.06')
  assert.equal(total(86_400_000.1234), '86400000.123')
  assert.equal(total(Number.NaN), undefined)
})

test('time follows the clock, also when it is set back', () => {
  for (const ms of [TIME, TIME + 958, TIME + 3600_000, TIME - 1, 0, TIME + 0.7]) {
    assert.equal(isoTime(ms), new Date(ms).toISOString())
  }
})

/** A small deterministic generator (mulberry32), so that a failure can be repeated from its seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const NASTY = [
  '"',
  '\\',
  '\n',
  '\r',
  '\u0000',
  '\u001b[2J',
  '\u007f',
  '\u009b',
  '\u2028',
  '\u2029',
  '\ud800',
  '\udc00',
  '😀',
  'é',
  '\u202e',
  '\ufeff',
  '","outcome":"completed',
  '\\u0022',
  '</script>',
]

test('whatever is in a string, the line is one line of JSON with that string in it and nothing raw that acts', () => {
  const next = random(1)
  const pick = () => {
    let text = ''
    for (let n = Math.floor(next() * 8); n > 0; n--) {
      text +=
        next() < 0.5 ? NASTY[Math.floor(next() * NASTY.length)] : String.fromCharCode(Math.floor(next() * 0x10000))
    }
    return text
  }
  for (let round = 0; round < 20_000; round++) {
    const [requestId, path, host, message] = [pick(), pick(), pick(), pick()]
    const line = accessLine(record({ requestId, path, host, outcome: 'reset', error: new Error(message) }), TIME)
    assert.doesNotMatch(line.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202e\ufeff]/)
    assert.equal(Buffer.from(line).toString(), line, 'a lone surrogate would have become U+FFFD')
    const parsed = JSON.parse(line)
    assert.deepEqual(
      [parsed.request_id, parsed.path, parsed.host, parsed.error.message],
      [requestId, path, host, message],
    )
    assert.equal(parsed.outcome, 'reset')
  }
})

test('whatever is in a record, the line is what JSON.stringify makes of its fields, in the bytes that it said it takes', () => {
  const next = random(2)
  const one = <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)] as T
  const text = () => {
    let text = one(['', 'plain', 'x'.repeat(40)])
    for (let n = Math.floor(next() * 4); n > 0; n--) text += one(NASTY)
    return text
  }
  const whole = () => one([0, 9, 10, 512, 65_536, 2 ** 30 - 1, 2 ** 30, 2 ** 31, 2 ** 53 - 1])
  const ms = () => one([-1, Number.NaN, 0, 0.0004, 0.001, 0.0601, 0.5, 9.9996, 123.456, 1e9 + 0.25, 1e12])
  const took = (value: number) => (value >= 0 && value < 1e12 ? Math.round(value * 1000) / 1000 : undefined)
  for (let round = 0; round < 20_000; round++) {
    const error = one([undefined, Object.assign(new Error(text()), { code: text() })])
    const websocket = one([undefined, { mode: 'relay', by: 'upstream', code: 4999 } as const])
    const times = {
      queue: ms(),
      connect: ms(),
      requestWrite: ms(),
      responseHeaders: ms(),
      responseBody: ms(),
      total: ms(),
    }
    const outcome = one(Object.keys(OUTCOMES) as Outcome[])
    const made = record({
      requestId: text(),
      routeName: text(),
      upstreamName: text(),
      endpointUrl: text(),
      method: text(),
      host: text(),
      path: text(),
      proto: one(['HTTP/1.1', 'HTTP/1.0', text()]),
      clientAddress: text(),
      status: one([200, 499, 503]),
      outcome,
      stage: one([undefined, 'response_headers', 'client_write']),
      party: one(['none', 'upstream']),
      rxBytes: whole(),
      txBytes: whole(),
      abortedWriteBytes: one([0, whole()]),
      reused: one([true, false]),
      attempts: one([0, 1, 2]),
      times,
      clientAbortAge: ms(),
      timeout: one([undefined, 'listen.timeouts.body_idle']),
      error,
      ...(websocket === undefined ? {} : { websocket }),
    })
    const failed = outcome !== 'completed'
    const expected = JSON.stringify({
      time: new Date(TIME + round).toISOString(),
      level: accessLevel(made),
      msg: 'request',
      request_id: made.requestId,
      route: made.routeName,
      upstream: made.upstreamName,
      endpoint: made.endpointUrl,
      method: made.method,
      host: made.host,
      path: made.path,
      proto: made.proto,
      client: made.clientAddress,
      status: made.status,
      outcome,
      stage: made.stage,
      party: made.party,
      rx_bytes: made.rxBytes,
      tx_bytes: made.txBytes,
      aborted_write_bytes: made.abortedWriteBytes,
      reused: made.reused,
      attempts: made.attempts,
      t_queue: took(times.queue),
      t_connect: took(times.connect),
      t_request_write: took(times.requestWrite),
      t_response_headers: took(times.responseHeaders),
      t_response_body: took(times.responseBody),
      t_total: took(times.total),
      timeout: failed ? made.timeout : undefined,
      t_client_abort: failed ? took(made.clientAbortAge) : undefined,
      websocket: websocket?.mode,
      closed_by: websocket?.by,
      close_code: websocket?.code,
      error: error === undefined ? undefined : { code: error.code, message: error.message },
    }).replace(
      /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
      char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    const line = lineOf(made, TIME + round)
    const bytes = Buffer.alloc(line.mostBytes + 1, '#')
    const end = line.writeTo(bytes, 1)
    assert.equal(bytes.toString('utf8', 0, end), `#${expected}\n`)
    assert.ok(end <= bytes.length)
  }
})

test('plain text stands in quotes as it is', () => {
  assert.equal(inQuotes('/a/b-c_d~e?%20[]{}'), '/a/b-c_d~e?%20[]{}')
  assert.equal(inQuotes(''), '')
})
