/** The admin listener: what an operator reads while something is wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

test('/metrics: the content type of the Prometheus text format, and every line of it parses', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  await requestOnce(gw.port)
  await requestOnce(gw.port, { path: '/x', method: 'POST', body: 5 })
  const response = await fetch(`http://127.0.0.1:${gw.gateway.adminAddress.port}/metrics`)
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const typed = new Map<string, string>()
  const seen = new Set<string>()
  for (const line of (await response.text()).trimEnd().split('\n')) {
    if (line === '') continue
    const comment = /^# (HELP|TYPE) ([a-z_]\w*) (.+)$/.exec(line)
    if (comment !== null) {
      if (comment[1] === 'TYPE') typed.set(comment[2] ?? '', comment[3] ?? '')
      continue
    }
    const sample = /^([a-z_]\w*)(\{(?:[a-z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[\d.e+-]+|\+Inf|NaN)$/i.exec(line)
    assert.ok(sample !== null, `not a sample: ${line}`)
    const family = (sample[1] ?? '').replace(/_(bucket|sum|count)$/, '')
    assert.ok(typed.has(sample[1] ?? '') || typed.get(family) === 'histogram', `without a TYPE: ${line}`)
    const series = line.slice(0, line.lastIndexOf(' '))
    assert.ok(!seen.has(series), `twice: ${series}`)
    seen.add(series)
  }
  const contract =
    'requests_total failures_total request_duration_seconds stage_duration_seconds client_abort_age_seconds upstream_cancel_seconds timeout_configured_seconds timeouts_total timeout_overrun_seconds aborted_writes_total aborted_write_bytes_total inflight_requests oldest_inflight_seconds accounting_imbalance queue_depth pool_connections connection_reuse_total client_connections client_connections_total bytes_total log_lines_total log_dropped_total log_sink_up config_info'
  for (const name of contract.split(' ')) assert.ok(typed.has(`hopgate_${name}`), `hopgate_${name}`)
  assert.ok(typed.has('process_cpu_seconds_total') && typed.has('nodejs_eventloop_lag_seconds'))
})

test('/healthz and /readyz while it serves: 200; while it drains: readyz 503, healthz still 200', async t => {
  const gw = await startTestGateway(t, {
    ...simple('http://127.0.0.1:1'),
    rest: 'drain: { delay: 500ms, deadline: 1s }',
  })
  assert.deepEqual([(await gw.admin('/healthz')).status, (await gw.admin('/readyz')).status], [200, 200])
  const drained = gw.gateway.drain()
  assert.deepEqual([(await gw.admin('/healthz')).status, (await gw.admin('/readyz')).status], [200, 503])
  assert.equal(await drained, 0)
})

test('/-/inflight while an upstream hangs: who, where, since when; empty when it is over', async t => {
  const upstream = await startUpstream(({ path }) =>
    path === '/body' ? { on: 'body', then: 'hang', afterBytes: 10 } : { on: 'headers', then: 'hang' },
  )
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 2 }'))
  assert.deepEqual((await gw.admin('/-/inflight')).body, [])
  const clients = await Promise.all(Array.from({ length: 3 }, () => openClient(gw.port)))
  const startedAt = performance.now()
  const [headers, body, queued] = clients.map(
    (client, n) => () => client.request({ path: ['/headers?a=b', '/body', '/queued'][n] as string }),
  )
  headers?.()
  await upstream.nextRequest()
  await body?.().bodyReached(10)
  queued?.()
  while ((await gw.metric('hopgate_queue_depth')) !== 1);
  const page = (await gw.admin('/-/inflight')).body as Record<string, unknown>[]
  const olderMs = performance.now() - startedAt
  assert.deepEqual(
    page.map(one => [one['route'], one['stage'], one['method'], one['path'], one['client'], one['endpoint']]),
    [
      ['r', 'response_headers', 'GET', '/headers', '127.0.0.1', upstream.url],
      ['r', 'response_body', 'GET', '/body', '127.0.0.1', upstream.url],
      ['r', 'queue', 'GET', '/queued', '127.0.0.1', ''],
    ],
  )
  const ages = page.map(one => one['age_ms'] as number)
  assert.ok(
    ages.every((age, n) => age >= 0 && age <= olderMs + 1 && age <= (ages[n - 1] ?? Infinity)),
    `${ages}`,
  )
  assert.ok(page.every(one => typeof one['request_id'] === 'string'))
  assert.ok((await gw.metric('hopgate_oldest_inflight_seconds', { route: 'r' })) > 0)
  for (const client of clients) client.leave('rst')
  for (let n = 0; n < 3; n++) await gw.line()
  assert.deepEqual((await gw.admin('/-/inflight')).body, [])
})

test('/-/routes: every effective timeout with its origin, how often it fired, and its worst overrun', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, {
    defaults: '  timeouts: { queue: 2s }',
    upstreams: `  up: { endpoints: ["${upstream.url}"], timeouts: { connect: 3s } }`,
    routes:
      '  - { name: r, match: { path_prefix: / }, upstream: up, timeouts: { response_headers: 100ms, request: 5s } }',
  })
  for (let n = 0; n < 2; n++) assert.equal((await requestOnce(gw.port)).status, 504)
  const [route] = (await gw.admin('/-/routes')).body as { name: string; timeouts: Record<string, unknown>[] }[]
  const timeout = (name: string) => route?.timeouts.find(one => one['name'] === name)
  const shown = ['queue', 'connect', 'response_headers', 'request', 'body_idle'].map(name => {
    const { ms, origin, fired } = timeout(name) ?? {}
    return [name, ms, origin, fired]
  })
  assert.deepEqual(shown, [
    ['queue', 2000, 'defaults', 0],
    ['connect', 3000, 'upstreams.up', 0],
    ['response_headers', 100, 'routes[0]', 2],
    ['request', 5000, 'routes[0]', 0],
    ['body_idle', 10_000, 'built-in', 0],
  ])
  const worst = timeout('response_headers')?.['worst_overrun_ms'] as number
  assert.ok(worst >= 0 && worst < 400, `${worst}`)
  assert.equal(timeout('queue')?.['worst_overrun_ms'], 0)
  assert.equal(route?.timeouts.length, 10, 'every timeout of the contract')
  assert.equal(await gw.metric('hopgate_timeout_configured_seconds', { route: 'r', timeout: 'queue' }), 2)
})

test('/-/routes: a timeout of connections, which no route is known for, counts at every route', async t => {
  const gw = await startTestGateway(t, {
    listen: '  timeouts: { headers: 150ms }',
    upstreams: '  up: { endpoints: ["http://127.0.0.1:1"] }',
    routes: '  - { name: r, match: { path_prefix: / }, upstream: up }',
  })
  const client = await openClient(gw.port)
  const pending = client.expect()
  await client.send('GET / HTTP/1.1\r\n')
  assert.equal((await pending.response).status, 408)
  const [route] = (await gw.admin('/-/routes')).body as { timeouts: { name: string; fired: number }[] }[]
  const fired = route?.timeouts.filter(timeout => timeout.fired > 0).map(({ name, fired }) => [name, fired])
  assert.deepEqual(fired, [['listen.timeouts.headers', 1]])
})

test('/-/upstreams: each endpoint with its connections, and the queue', async t => {
  const upstream = await startUpstream(({ path }) => (path === '/hang' ? { on: 'headers', then: 'hang' } : answer()))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 7, queue: 9 }'))
  const client = await openClient(gw.port)
  client.request({ path: '/hang' })
  await upstream.nextRequest()
  await requestOnce(gw.port)
  assert.deepEqual((await gw.admin('/-/upstreams')).body, [
    {
      name: 'up',
      balance: 'least_request',
      queue: { depth: 0, limit: 9 },
      endpoints: [{ url: upstream.url, max_connections: 7, connecting: 0, active: 1, idle: 1 }],
    },
  ])
  client.leave('rst')
})

test('more than listen.max_connections: accepted and closed at once, counted, and the others are served', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, { ...simple(upstream.url), listen: '  max_connections: 2' })
  const clients = [await openClient(gw.port), await openClient(gw.port)]
  for (const client of clients) assert.equal((await client.request().response).status, 200)
  for (let n = 0; n < 3; n++) {
    const refused = await openClient(gw.port)
    assert.notEqual((await refused.closed).how, 'us')
  }
  const counted = (result: string) => gw.metric('hopgate_client_connections_total', { result })
  assert.deepEqual([await counted('accepted'), await counted('refused_limit')], [2, 3])
  assert.equal(await gw.metric('hopgate_client_connections'), 2)
  for (const client of clients) assert.equal((await client.request().response).status, 200)
  for (const client of clients) client.leave('fin')
  while ((await gw.metric('hopgate_client_connections')) !== 0);
  assert.equal((await requestOnce(gw.port)).status, 200)
})

test('a request whose head is completed after drain.delay: draining in route, 503, and the connection is closed', async t => {
  const upstream = await startUpstream(({ path }) => (path === '/hang' ? { on: 'headers', then: 'hang' } : answer()))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, { ...simple(upstream.url), rest: 'drain: { delay: 10ms, deadline: 5s }' })
  const [hung, late] = [await openClient(gw.port), await openClient(gw.port)]
  const pending = hung.request({ path: '/hang' })
  const request = await upstream.nextRequest()
  const response = late.expect()
  await late.send('GET /late HTTP/1.1\r\nHost: a\r\n')
  const drained = gw.gateway.drain()
  // Refused dials show that the delay is over.
  while (
    await openClient(gw.port).then(
      client => client.leave('rst') ?? true,
      () => false,
    )
  );
  await late.send('\r\n')
  const refused = await response.response
  assert.deepEqual([refused.status, refused.header('connection')], [503, 'close'])
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage, line.party, line['level']], ['draining', 'route', 'gateway', 'info'])
  await request.answer()
  assert.equal((await pending.response).status, 200)
  assert.equal(await drained, 0)
})
