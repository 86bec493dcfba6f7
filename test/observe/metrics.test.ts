import assert from 'node:assert/strict'
import perf from 'node:perf_hooks'
import { test } from 'node:test'
import { register } from 'prom-client'
import type { WebSocketConfig } from '../../src/config/config.ts'
import { Ledger } from '../../src/observe/ledger.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { config, deps, parseMetrics, record, valueIn } from './fixtures.ts'

/** Contract section 4: every metric with its type and its labels. */
const CONTRACT: readonly [name: string, type: string, labels: string][] = [
  ['hopgate_requests_total', 'counter', 'route method code outcome'],
  ['hopgate_failures_total', 'counter', 'route upstream outcome stage party'],
  ['hopgate_request_duration_seconds', 'histogram', 'route outcome'],
  ['hopgate_stage_duration_seconds', 'histogram', 'route stage'],
  ['hopgate_client_abort_age_seconds', 'histogram', 'route'],
  ['hopgate_upstream_cancel_seconds', 'histogram', 'route'],
  ['hopgate_timeout_configured_seconds', 'gauge', 'route timeout'],
  ['hopgate_timeouts_total', 'counter', 'route timeout'],
  ['hopgate_timeout_overrun_seconds', 'histogram', 'timeout'],
  ['hopgate_aborted_writes_total', 'counter', 'route'],
  ['hopgate_aborted_write_bytes_total', 'counter', 'route'],
  ['hopgate_inflight_requests', 'gauge', 'route'],
  ['hopgate_oldest_inflight_seconds', 'gauge', 'route'],
  ['hopgate_accounting_imbalance', 'gauge', 'ledger'],
  ['hopgate_queue_depth', 'gauge', 'upstream'],
  ['hopgate_pool_connections', 'gauge', 'upstream endpoint state'],
  ['hopgate_connection_reuse_total', 'counter', 'upstream reused'],
  ['hopgate_upstream_idle_closes_total', 'counter', 'upstream'],
  ['hopgate_client_connections', 'gauge', ''],
  ['hopgate_client_connections_total', 'counter', 'result'],
  ['hopgate_bytes_total', 'counter', 'route direction'],
  ['hopgate_websocket_connections', 'gauge', 'route mode'],
  ['hopgate_websocket_closed_total', 'counter', 'route mode by code'],
  ['hopgate_websocket_bytes_total', 'counter', 'route direction'],
  ['hopgate_websocket_reconnects_total', 'counter', 'route result'],
  ['hopgate_log_lines_total', 'counter', 'class'],
  ['hopgate_log_dropped_total', 'counter', 'class'],
  ['hopgate_log_sink_up', 'gauge', ''],
  ['hopgate_config_info', 'gauge', 'version config_hash'],
]

const off = { value: Number.POSITIVE_INFINITY, origin: 'built-in' }
const relay: WebSocketConfig = {
  mode: 'relay',
  idleTimeout: off,
  maxLifetime: off,
  pingInterval: off,
  maxMessageBytes: 1024,
  maxBufferedBytes: 1024,
  reconnect: null,
}

const aborted = record({
  outcome: 'client_abort',
  stage: 'response_headers',
  party: 'client',
  status: 499,
  clientAbortAge: 2000,
  abortedWrites: 2,
  abortedWriteBytes: 300,
})

test('every metric of the contract is exposed with its type and exactly its labels, and no other hopgate_ metric is', async t => {
  const [orders, events] = config.routes
  assert.ok(orders !== undefined && events !== undefined)
  const metrics = createMetrics({ ...config, routes: [orders, { ...events, websocket: relay }] }, deps())
  t.after(() => metrics.close())
  metrics.route('orders').finished(record())
  metrics.route('orders').finished(aborted)
  assert.equal(metrics.websocket('orders'), undefined)
  metrics.websocket('events')?.ended('client', 4001)
  const text = await metrics.text()
  const samples = parseMetrics(text)
  for (const [name, type, labels] of CONTRACT) {
    assert.match(text, new RegExp(`^# TYPE ${name} ${type}$`, 'm'))
    const series = samples.filter(s => s.name === (type === 'histogram' ? `${name}_count` : name))
    assert.ok(series.length > 0, `${name} has no series`)
    const wanted = labels === '' ? [] : labels.split(' ').sort()
    for (const one of series) assert.deepEqual(Object.keys(one.labels).sort(), wanted, name)
  }
  const names = [...text.matchAll(/^# TYPE (hopgate_\w+) /gm)].map(match => match[1])
  assert.deepEqual(names.sort(), CONTRACT.map(([name]) => name).sort())
  assert.match(text, /^process_cpu_seconds_total /m)
  assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m)
  assert.match(metrics.contentType, /^text\/plain; version=0\.0\.4/)
})

test('a completed exchange counts once, by route, method, code and outcome, with its durations and bytes', async t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  const route = metrics.route('orders')
  route.finished(record())
  route.finished(record({ rxBytes: 10, method: 'POST', status: 201 }))
  route.finished(record())
  const samples = parseMetrics(await metrics.text())
  const labels = { route: 'orders', outcome: 'completed' }
  assert.equal(valueIn(samples, 'hopgate_requests_total', { ...labels, method: 'GET', code: '200' }), 2)
  assert.equal(valueIn(samples, 'hopgate_requests_total', { ...labels, method: 'POST', code: '201' }), 1)
  assert.equal(valueIn(samples, 'hopgate_request_duration_seconds_count', labels), 3)
  assert.equal(valueIn(samples, 'hopgate_stage_duration_seconds_count', { route: 'orders', stage: 'queue' }), 3)
  assert.equal(valueIn(samples, 'hopgate_stage_duration_seconds_count', { route: 'orders', stage: 'connect' }), 0)
  assert.equal(valueIn(samples, 'hopgate_bytes_total', { route: 'orders', direction: 'in' }), 10)
  assert.equal(valueIn(samples, 'hopgate_bytes_total', { route: 'orders', direction: 'out' }), 3 * 512)
  assert.equal(samples.filter(s => s.name === 'hopgate_failures_total').length, 0)
})

test('histogram buckets are cumulative, inclusive at their bound, and end in +Inf equal to the count', async t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  const route = metrics.route('orders')
  const took = (total: number) => route.finished(record({ times: { ...record().times, total } }))
  for (const ms of [1, 5, 6, 2000, 2001, 60_000, 61_000, Number.NaN]) took(ms)
  const samples = parseMetrics(await metrics.text())
  const bucket = (le: string) =>
    valueIn(samples, 'hopgate_request_duration_seconds_bucket', { route: 'orders', outcome: 'completed', le })
  assert.equal(bucket('0.005'), 3, '1 ms, 5 ms, and a nonsensical one as 0')
  assert.equal(bucket('0.01'), 4)
  assert.equal(bucket('2'), 5)
  assert.equal(bucket('3'), 6)
  assert.equal(bucket('60'), 7)
  assert.equal(bucket('+Inf'), 8)
  const labels = { route: 'orders', outcome: 'completed' }
  assert.equal(valueIn(samples, 'hopgate_request_duration_seconds_sum', labels), 125.013)
  const bounds: (string | undefined)[] = []
  for (const { name, labels } of samples) {
    const { route, le } = labels
    if (name === 'hopgate_request_duration_seconds_bucket' && route === 'orders') bounds.push(le)
  }
  const contract = '0.005 0.01 0.025 0.05 0.1 0.25 0.5 0.75 1 1.5 2 3 5 7.5 10 15 20 30 60 +Inf'
  assert.equal(bounds.join(' '), contract)
})

test('a client abort counts as 499, as a failure of the client, with its age and its aborted writes', async t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  metrics.route('orders').finished(aborted)
  metrics.route('orders').upstreamCancelled(0.003)
  const samples = parseMetrics(await metrics.text())
  const { outcome, stage, party } = { outcome: 'client_abort', stage: 'response_headers', party: 'client' }
  const route = { route: 'orders' }
  assert.equal(valueIn(samples, 'hopgate_requests_total', { ...route, method: 'GET', code: '499', outcome }), 1)
  assert.equal(valueIn(samples, 'hopgate_failures_total', { ...route, upstream: 'orders', outcome, stage, party }), 1)
  assert.equal(valueIn(samples, 'hopgate_client_abort_age_seconds_sum', route), 2)
  assert.equal(valueIn(samples, 'hopgate_aborted_writes_total', route), 2)
  assert.equal(valueIn(samples, 'hopgate_aborted_write_bytes_total', route), 300)
  assert.equal(valueIn(samples, 'hopgate_upstream_cancel_seconds_bucket', { ...route, le: '0.0025' }), 0)
  assert.equal(valueIn(samples, 'hopgate_upstream_cancel_seconds_bucket', { ...route, le: '0.005' }), 1)
})

test('failures that differ in outcome, stage, party or upstream are series of their own', async t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  const route = metrics.route('orders')
  route.finished(record({ outcome: 'deadline_exceeded', stage: 'queue', party: 'gateway', status: 504 }))
  route.finished(record({ outcome: 'deadline_exceeded', stage: 'connect', party: 'upstream', status: 504 }))
  route.finished(record({ outcome: 'deadline_exceeded', stage: 'client_write', party: 'client' }))
  route.finished(record({ outcome: 'drain_killed', stage: 'queue', party: 'gateway', status: 503 }))
  route.finished(record({ outcome: 'drain_killed', stage: 'queue', party: 'gateway', status: 503, upstreamName: '' }))
  const failures = parseMetrics(await metrics.text()).filter(s => s.name === 'hopgate_failures_total')
  assert.equal(failures.length, 5)
  for (const one of failures) assert.equal(one.value, 1)
})

test('timeouts are present at 0 with their configured value, and count with their overrun when they fire', async t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  const route = metrics.route('orders')
  const fired = {
    outcome: 'response_headers_timeout',
    stage: 'response_headers',
    party: 'upstream',
    status: 504,
  } as const
  route.finished(record({ ...fired, timeout: 'response_headers', timeoutOverrun: 4 }))
  route.finished(record({ ...fired, timeout: 'response_headers', timeoutOverrun: 2 }))
  metrics.route('_none').timeoutFired('listen.timeouts.keepalive', 1)
  const samples = parseMetrics(await metrics.text())
  const configured = (r: string, timeout: string) =>
    valueIn(samples, 'hopgate_timeout_configured_seconds', { route: r, timeout })
  assert.equal(configured('orders', 'connect'), 2)
  assert.equal(configured('orders', 'request'), 15)
  assert.equal(configured('events', 'request'), Number.POSITIVE_INFINITY)
  assert.equal(configured('_none', 'listen.timeouts.keepalive'), 75)
  assert.equal(configured('orders', 'listen.min_body_rate'), undefined, 'a rate, not a duration')
  const count = (r: string, timeout: string) => valueIn(samples, 'hopgate_timeouts_total', { route: r, timeout })
  assert.equal(count('orders', 'response_headers'), 2)
  assert.equal(count('orders', 'listen.min_body_rate'), 0)
  assert.equal(count('events', 'queue'), 0)
  assert.equal(count('_none', 'listen.timeouts.keepalive'), 1)
  assert.equal(valueIn(samples, 'hopgate_timeout_overrun_seconds_sum', { timeout: 'response_headers' }), 0.006)
  assert.equal(route.timeoutCount('response_headers'), 2)
  assert.equal(route.worstOverrunMs('response_headers'), 4)
})

test('methods that Node does not know, and unreadable ones, share the series _other', async t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  const none = metrics.route('_none')
  for (const method of ['', 'BREW', 'X'.repeat(500), 'toString', '__proto__']) {
    none.finished(record({ method, routeName: '_none', outcome: 'bad_request', stage: 'request_headers', status: 400 }))
  }
  const requests = parseMetrics(await metrics.text()).filter(s => s.name === 'hopgate_requests_total')
  assert.deepEqual(
    requests.map(({ labels: { method }, value }) => [method, value]),
    [['_other', 5]],
  )
})

test('live values are asked of their owners at the scrape', async t => {
  const ledger = new Ledger()
  const log = { written: { access: 7, event: 1 }, dropped: { access: 3, event: 0 }, up: false, bufferedBytes: 9 }
  const metrics = createMetrics(
    config,
    deps({
      ledger,
      log,
      inflight: route => (route === 'orders' ? 4 : 0),
      oldestInflightSeconds: () => 1.5,
      queueDepth: () => 2,
      poolConnections: (_, url) => ({ connecting: 1, active: url.endsWith('3001') ? 5 : 0, idle: 3 }),
      clientConnections: () => 11,
    }),
  )
  t.after(() => metrics.close())
  ledger.slots.taken += 1
  metrics.upstream('orders').reuse(true)
  metrics.upstream('orders').reuse(false)
  metrics.upstream('orders').reuse(true)
  metrics.clientConnection('refused_limit')
  const samples = parseMetrics(await metrics.text())
  const value = (name: string, labels: Record<string, string> = {}) => valueIn(samples, name, labels)
  const endpoint = 'http://127.0.0.1:3001'
  assert.equal(value('hopgate_inflight_requests', { route: 'orders' }), 4)
  assert.equal(value('hopgate_oldest_inflight_seconds', { route: '_none' }), 1.5)
  assert.equal(value('hopgate_queue_depth', { upstream: 'orders' }), 2)
  assert.equal(value('hopgate_pool_connections', { upstream: 'orders', endpoint, state: 'active' }), 5)
  assert.equal(value('hopgate_client_connections'), 11)
  assert.equal(value('hopgate_accounting_imbalance', { ledger: 'slots' }), 1)
  assert.equal(value('hopgate_accounting_imbalance', { ledger: 'timers' }), 0)
  assert.equal(value('hopgate_log_lines_total', { class: 'access' }), 7)
  assert.equal(value('hopgate_log_dropped_total', { class: 'access' }), 3)
  assert.equal(value('hopgate_log_sink_up'), 0)
  assert.equal(value('hopgate_connection_reuse_total', { upstream: 'orders', reused: 'true' }), 2)
  assert.equal(value('hopgate_connection_reuse_total', { upstream: 'orders', reused: 'false' }), 1)
  assert.equal(value('hopgate_client_connections_total', { result: 'refused_limit' }), 1)
  assert.equal(value('hopgate_client_connections_total', { result: 'accepted' }), 0)
  assert.equal(value('hopgate_config_info', { version: '0.1.0', config_hash: '0123456789ab' }), 1)
})

test('two gateways in one process count apart, leave the global registry alone, and close without a trace', async () => {
  const [one, two] = [createMetrics(config, deps()), createMetrics(config, deps())]
  one.route('orders').finished(record())
  const labels = { route: 'orders', method: 'GET', code: '200', outcome: 'completed' }
  assert.equal(valueIn(parseMetrics(await one.text()), 'hopgate_requests_total', labels), 1)
  assert.equal(valueIn(parseMetrics(await two.text()), 'hopgate_requests_total', labels), undefined)
  assert.equal(register.getMetricsAsArray().length, 0)
  one.close()
  two.close()
  assert.equal((await one.text()).trim(), '')
})

test('however many gateways a process starts, it has one event-loop monitor', t => {
  createMetrics(config, deps()).close()
  const monitors = t.mock.method(perf, 'monitorEventLoopDelay')
  for (let i = 0; i < 20; i++) createMetrics(config, deps()).close()
  assert.equal(monitors.mock.callCount(), 0)
})

test('a name that is not in the configuration has no cells', t => {
  const metrics = createMetrics(config, deps())
  t.after(() => metrics.close())
  assert.throws(() => metrics.route('nope'), /nope/)
  assert.throws(() => metrics.upstream('nope'), /nope/)
})
