/** The wait for a slot: who gets one, in what order, and what those are told who do not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { checkAccessLine, checkPoolEmpty, checkReply, type Pool, slack } from './support.ts'

/** Waits for a state that the admin pages show. */
async function until(gw: TestGateway, metric: string, value: number, labels = {}): Promise<void> {
  const deadline = performance.now() + 5000
  while ((await gw.metric(metric, labels)) !== value) {
    assert.ok(performance.now() < deadline, `${metric} never was ${value}`)
  }
}

const slots = (n: number, queue = 256) => `pool: { max_connections: ${n}, queue: ${queue} }`

test('two slots and five requests: two are served, three wait, and each slot goes to the one that came first', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { queue: 10s }', slots(2)))
  const pending = []
  for (const n of [0, 1, 2, 3, 4]) {
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    pending.push(client.request({ path: `/${n}` }))
    await until(gw, 'hopgate_inflight_requests', n + 1, { route: 'r' })
  }
  const [first, second] = [await upstream.nextRequest(), await upstream.nextRequest()]
  assert.deepEqual([first.path, second.path], ['/0', '/1'])
  assert.equal(await gw.metric('hopgate_queue_depth', { upstream: 'up' }), 3)
  assert.equal(await gw.metric('hopgate_pool_connections', { upstream: 'up', state: 'active' }), 2)
  const [page] = (await gw.admin('/-/upstreams')).body as { queue: { depth: number }; endpoints: Pool[] }[]
  assert.deepEqual([page?.queue.depth, page?.endpoints[0]?.active], [3, 2])

  await second.answer()
  const third = await upstream.nextRequest()
  await first.answer()
  const fourth = await upstream.nextRequest()
  await fourth.answer()
  const fifth = await upstream.nextRequest()
  assert.deepEqual([third.path, fourth.path, fifth.path], ['/2', '/3', '/4'])
  await Promise.all([third.answer(), fifth.answer()])
  for (const { response } of pending) assert.equal((await response).status, 200)
  assert.equal(upstream.counters.connections, 2, 'never more connections than slots')
  for (const path of ['/1', '/0']) assert.equal((await gw.line()).path, path)
})

for (const method of ['GET', 'POST'] as const) {
  const request = { method, path: '/a', ...(method === 'POST' ? { body: 1000 } : {}) }

  test(`${method}: the queue is full: queue_full in queue, 503 with Retry-After, at once`, async t => {
    const upstream = await startUpstream({ on: 'headers', then: 'hang' })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { queue: 10s }', slots(1, 1)))
    const [served, waiting] = [await openClient(gw.port), await openClient(gw.port)]
    served.request({ path: '/served' })
    await upstream.nextRequest()
    waiting.request({ path: '/waiting' })
    await until(gw, 'hopgate_queue_depth', 1)
    const expected = {
      outcome: 'queue_full',
      stage: 'queue',
      status: 503,
      party: 'gateway',
      retryAfter: true,
      proxyError: 'connection_limit_reached',
    } as const
    const response = await requestOnce(gw.port, request)
    const line = await gw.line()
    checkReply(response, line, expected)
    checkAccessLine(line, method, expected)
    assert.deepEqual([line['attempts'], line['endpoint']], [0, ''])
    assert.equal(await gw.metric('hopgate_queue_depth'), 1)
    for (const client of [served, waiting]) client.leave('rst')
    await upstream.allClosed()
    await until(gw, 'hopgate_inflight_requests', 0, { route: 'r' })
    await checkPoolEmpty(gw)
  })

  test(`${method}: no slot in time: queue_timeout in queue, 503 with Retry-After, and the queue is left`, async t => {
    const upstream = await startUpstream({ on: 'headers', then: 'hang' })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { queue: 150ms }', slots(1)))
    const served = await openClient(gw.port)
    const first = served.request({ path: '/served' })
    const hanging = await upstream.nextRequest()
    const expected = {
      outcome: 'queue_timeout',
      stage: 'queue',
      status: 503,
      party: 'gateway',
      retryAfter: true,
      timeout: 'queue',
      proxyError: 'connection_limit_reached',
    } as const
    const response = await requestOnce(gw.port, request)
    const line = await gw.line()
    checkReply(response, line, expected)
    checkAccessLine(line, method, expected)
    assert.ok((line['t_queue'] as number) >= 150)
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'queue', route: 'r' }), 1)
    assert.equal(await gw.metric('hopgate_queue_depth'), 0)
    await hanging.answer()
    assert.equal((await first.response).status, 200)
    served.leave('fin')
    upstream.behave(answer())
    // The slot that came free later is nobody's: the one that gave up does not take it.
    assert.equal((await requestOnce(gw.port, { path: '/after' })).status, 200)
    assert.equal(upstream.counters.requests, 2)
  })
}

test('a hanging upstream of route A does not slow route B: 100 requests are answered while A is full to the brim', async t => {
  const [hung, healthy] = [await startUpstream({ on: 'headers', then: 'hang' }), await startUpstream(answer())]
  t.after(() => Promise.all([hung.close(), healthy.close()]))
  const gw = await startTestGateway(t, {
    upstreams: [
      `  a: { endpoints: ["${hung.url}"], ${slots(4, 4)} }`,
      `  b: { endpoints: ["${healthy.url}"], ${slots(4, 4)} }`,
    ].join('\n'),
    routes: [
      '  - { name: a, match: { path_prefix: /a }, upstream: a, timeouts: { queue: 10s } }',
      '  - { name: b, match: { path_prefix: /b }, upstream: b }',
    ].join('\n'),
  })
  const stuck = await Promise.all(Array.from({ length: 8 }, () => openClient(gw.port)))
  for (const client of stuck) client.request({ path: '/a' })
  await until(gw, 'hopgate_queue_depth', 4, { upstream: 'a' })
  const client = await openClient(gw.port)
  const times: number[] = []
  for (let n = 0; n < 100; n++) {
    const response = await client.request({ path: '/b' }).response
    assert.equal(response.status, 200)
    times.push(response.doneAt - response.sentAt)
  }
  times.sort((a, b) => a - b)
  assert.ok((times[98] ?? 0) < slack(100), `p99 of route B: ${times[98]} ms`)
  for (const one of [...stuck, client]) one.leave('rst')
})

for (const method of ['GET', 'POST'] as const) {
  test(`${method}: more than limits.in_flight on a route: overloaded in route, 503 with Retry-After; other routes go on`, async t => {
    const upstream = await startUpstream(({ path }) => (path === '/b' ? answer() : { on: 'headers', then: 'hang' }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, {
      upstreams: `  up: { endpoints: ["${upstream.url}"] }`,
      routes: [
        '  - { name: r, match: { path_prefix: / }, upstream: up, limits: { in_flight: 2 } }',
        '  - { name: other, match: { path_prefix: /b }, upstream: up }',
      ].join('\n'),
    })
    const clients = await Promise.all([openClient(gw.port), openClient(gw.port)])
    for (const client of clients) client.request({ path: '/a' })
    await Promise.all([upstream.nextRequest(), upstream.nextRequest()])
    const expected = {
      outcome: 'overloaded',
      stage: 'route',
      status: 503,
      party: 'gateway',
      retryAfter: true,
    } as const
    const request = { method, path: '/a', ...(method === 'POST' ? { body: 1000 } : {}) }
    const response = await requestOnce(gw.port, request)
    const line = await gw.line()
    checkReply(response, line, expected)
    checkAccessLine(line, method, expected)
    assert.equal((await requestOnce(gw.port, { path: '/b' })).status, 200)
    for (const client of clients) client.leave('rst')
    await until(gw, 'hopgate_inflight_requests', 0, { route: 'r' })
    upstream.behave(answer())
    assert.equal((await requestOnce(gw.port, { path: '/a' })).status, 200)
  })
}
