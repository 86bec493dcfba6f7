/** What the live page draws: reckoned from the same cells as the metrics, in memory of fixed size. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { limitsOf } from '../../src/explain/limits.ts'
import { BANDS, bandOf } from '../../src/live/bands.ts'
import { Failures } from '../../src/live/failures.ts'
import { History, SAMPLES } from '../../src/live/history.ts'
import { quantile } from '../../src/live/quantile.ts'
import { RouteMetrics } from '../../src/observe/route-metrics.ts'
import { OUTCOMES, type Outcome } from '../../src/outcome.ts'
import { record } from '../observe/fixtures.ts'

const times = (total: number) => ({
  queue: -1,
  connect: -1,
  requestWrite: -1,
  responseHeaders: -1,
  responseBody: -1,
  total,
})

const none = { active: 0, queued: 0 }

test('percentiles are those of histogram_quantile: linear within a bucket, and never above the highest bound', () => {
  const bounds = [1, 2, 4]
  assert.equal(quantile(0.5, bounds, [10, 0, 0, 0]), 0.5)
  assert.equal(quantile(0.5, bounds, [1, 2, 1, 0]), 1.5)
  assert.equal(quantile(0.99, bounds, [0, 0, 0, 7]), 4)
  assert.equal(quantile(0.75, bounds, [9, 9, 0, 4, 0, 0], 2), 1.75)
  assert.ok(Number.isNaN(quantile(0.5, bounds, [0, 0, 0, 0])))
})

test('every outcome has its band, and only a 5xx of the upstream itself parts with the completed ones', () => {
  const by = (outcome: Outcome, status: number = OUTCOMES[outcome].status) => BANDS[bandOf(outcome, status)]
  assert.deepEqual([by('completed', 200), by('completed', 404), by('completed', 503)], ['ok', 'ok', 'upstream_5xx'])
  for (const outcome of Object.keys(OUTCOMES) as Outcome[]) {
    const { status, party } = OUTCOMES[outcome]
    if (outcome === 'completed') continue
    if (party === 'none') {
      assert.equal(by(outcome), 'ok', outcome)
      continue
    }
    const wanted = outcome === 'client_abort' ? 'client_left' : status === 504 ? 'timeout' : party
    const band = by(outcome)
    assert.ok(
      band === wanted ||
        { client: 'client_fault', upstream: 'upstream_failed', gateway: 'refused' }[party as string] === band,
      `${outcome}: ${band}`,
    )
  }
})

test('a sample holds what ended since the one before, in its band, and how long it took', () => {
  const cells = new RouteMetrics('r', new Map())
  const history = new History([cells], 1, () => [{ active: 3, queued: 4 }])
  cells.finished(record({ outcome: 'completed', status: 200, times: times(80) }))
  history.sample(1000)
  cells.finished(record({ outcome: 'completed', status: 200, times: times(80) }))
  cells.finished(record({ outcome: 'response_headers_timeout', status: 504, times: times(8000) }))
  cells.finished(record({ outcome: 'client_abort', status: 499, times: times(80) }))
  history.sample(6000)
  history.sample(11_000)
  assert.deepEqual(history.times(), [1000, 6000, 11_000])
  const { bands, p50, p99 } = history.route(0)
  const of = (name: (typeof BANDS)[number]) => bands[BANDS.indexOf(name)]
  assert.deepEqual([of('ok'), of('timeout'), of('client_left'), of('refused')], [[1, 1, 0], [0, 1, 0], [0, 1, 0], null])
  assert.equal(p50[2], null)
  assert.ok((p50[1] ?? 0) > 0.05 && (p50[1] ?? 0) <= 0.1 && (p99[1] ?? 0) > 7.5, `${p50} ${p99}`)
  assert.ok(history.minute(0).p99 > 7.5)
  assert.deepEqual(history.all().p99, p99, 'of one route, all is that route')
  assert.deepEqual(history.upstream(0), { active: [3, 3, 3], queued: [4, 4, 4] })
})

test('after 15 minutes the oldest sample goes, nothing grows, and the last minute forgets the one before', () => {
  const cells = new RouteMetrics('r', new Map())
  const history = new History([cells], 1, () => [none])
  const { bytes } = history
  for (let n = 0; n < SAMPLES + 20; n++) {
    if (n < 30) cells.finished(record({ outcome: 'completed', status: 200, times: times(80) }))
    history.sample(n * 5000)
  }
  const kept = history.times()
  assert.deepEqual([kept.length, kept[0], kept.at(-1)], [SAMPLES, 20 * 5000, (SAMPLES + 19) * 5000])
  assert.deepEqual(history.route(0).bands[0]?.slice(0, 12), [...Array(10).fill(1), 0, 0])
  assert.ok(Number.isNaN(history.minute(0).p50))
  assert.equal(history.bytes, bytes)
})

test('200 routes: less than 2 MiB of history', () => {
  const routes = Array.from({ length: 201 }, (_, n) => new RouteMetrics(`r${n}`, new Map()))
  assert.ok(new History(routes, 200, () => []).bytes < 2 * 2 ** 20)
})

test('failures: those alike within a second are counted, the others told, and a hundred are kept', () => {
  const parsed = parseConfig(
    'upstreams: { u: { endpoints: ["http://127.0.0.1:1"] } }\nroutes: [{ name: r, match: { path_prefix: / }, upstream: u }]',
    { env: {}, baseDir: '/' },
  )
  assert.ok(parsed.ok)
  const failures = new Failures(limitsOf(parsed.config))
  const failed = (path: string, outcome: Outcome, atMs: number) =>
    failures.add(record({ path, outcome, stage: 'response_headers', status: 504, routeName: 'r' }), atMs)
  failed('/a', 'response_headers_timeout', 0)
  failed('/b', 'response_headers_timeout', 500)
  failed('/c', 'reset', 600)
  const before = failures.version
  failed('/d', 'response_headers_timeout', 999)
  assert.deepEqual(
    failures.since(0).map(({ request, more }) => [request.replace(/^\S+ [^/]*/, ''), more]),
    [
      ['/a', 2],
      ['/c', 0],
    ],
  )
  assert.deepEqual(
    failures.since(before).map(({ more }) => more),
    [2],
    'what has changed is told again, nothing else',
  )
  for (let n = 1; n <= 500; n++) failed(`/n${n}`, 'response_headers_timeout', n * 2000)
  assert.equal(failures.since(0).length, 100)
  assert.match(failures.since(0).at(-1)?.text ?? '', /sent no headers/)
})
