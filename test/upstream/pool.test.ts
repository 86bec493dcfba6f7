/** The connections to an upstream's endpoints: which one is used, which is used again, and when one is given up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sharedBlackHole } from '../../src/prove/black-hole.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { slack } from './support.ts'

const endpoints = (upstreams: readonly Upstream[]): string => upstreams.map(({ url }) => `"${url}"`).join(', ')

test('a connection that is being dialled is counted as connecting, and takes a slot', async t => {
  const { port } = await sharedBlackHole()
  const route = 'timeouts: { connect: 10s, queue: 10s }'
  const gw = await startTestGateway(t, simple(`http://127.0.0.1:${port}`, route, 'pool: { max_connections: 1 }'))
  const clients = [await openClient(gw.port), await openClient(gw.port)]
  for (const client of clients) client.request()
  while ((await gw.metric('hopgate_queue_depth')) !== 1);
  assert.equal(await gw.metric('hopgate_pool_connections', { state: 'connecting' }), 1)
  assert.equal(await gw.metric('hopgate_pool_connections'), 1)
  for (const client of clients) client.leave('rst')
  for (let n = 0; n < 2; n++) assert.equal((await gw.line()).outcome, 'client_abort')
  assert.equal(await gw.metric('hopgate_pool_connections'), 0)
})

test('requests one after the other use one connection; the line and the metric say which were reused', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  for (let n = 0; n < 5; n++) {
    const request = n % 2 === 0 ? {} : { method: 'POST', body: 100_000 }
    assert.equal((await requestOnce(gw.port, request)).status, 200)
    const line = await gw.line()
    assert.equal(line['reused'], n > 0)
    assert.equal(Object.hasOwn(line, 't_connect'), n === 0, 'only a connection that is dialled has a t_connect')
  }
  assert.equal(upstream.counters.connections, 1)
  assert.equal(await gw.metric('hopgate_connection_reuse_total', { upstream: 'up', reused: 'true' }), 4)
  assert.equal(await gw.metric('hopgate_connection_reuse_total', { upstream: 'up', reused: 'false' }), 1)
  const state = (state: string) =>
    gw.metric('hopgate_pool_connections', { upstream: 'up', endpoint: upstream.url, state })
  assert.deepEqual([await state('idle'), await state('active'), await state('connecting')], [1, 0, 0])
})

const spreads = [
  { balance: 'round_robin', what: 'in turn' },
  { balance: 'least_request', what: 'evenly, all being idle' },
]
for (const { balance, what } of spreads) {
  test(`${balance}: nine requests one after the other go to three endpoints ${what}`, async t => {
    const all = await Promise.all([startUpstream(answer()), startUpstream(answer()), startUpstream(answer())])
    t.after(() => Promise.all(all.map(one => one.close())))
    const gw = await startTestGateway(t, {
      upstreams: `  up: { endpoints: [${endpoints(all)}], balance: ${balance} }`,
      routes: '  - { name: r, match: { path_prefix: / }, upstream: up }',
    })
    const order: unknown[] = []
    for (let n = 0; n < 9; n++) {
      await requestOnce(gw.port)
      order.push((await gw.line())['endpoint'])
    }
    const urls = all.map(({ url }) => url)
    assert.deepEqual(order, [...urls, ...urls, ...urls])
  })
}

test('least_request: an endpoint that hangs with two requests gets no more while the others have fewer', async t => {
  const [slow, quick] = [await startUpstream({ on: 'headers', then: 'hang' }), await startUpstream(answer())]
  t.after(() => Promise.all([slow.close(), quick.close()]))
  const gw = await startTestGateway(t, {
    upstreams: `  up: { endpoints: [${endpoints([slow, quick])}], balance: least_request }`,
    routes: '  - { name: r, match: { path_prefix: / }, upstream: up }',
  })
  const stuck = await openClient(gw.port)
  stuck.request({ path: '/stuck' })
  await slow.nextRequest()
  for (let n = 0; n < 10; n++) assert.equal((await requestOnce(gw.port)).status, 200)
  assert.deepEqual([slow.counters.requests, quick.counters.requests], [1, 10])
  stuck.leave('rst')
})

test('round_robin: an endpoint whose slots are all taken is passed over', async t => {
  const [slow, quick] = [await startUpstream({ on: 'headers', then: 'hang' }), await startUpstream(answer())]
  t.after(() => Promise.all([slow.close(), quick.close()]))
  const gw = await startTestGateway(t, {
    upstreams: `  up: { endpoints: [${endpoints([slow, quick])}], balance: round_robin, pool: { max_connections: 1 } }`,
    routes: '  - { name: r, match: { path_prefix: / }, upstream: up }',
  })
  const stuck = await openClient(gw.port)
  stuck.request({ path: '/stuck' })
  await slow.nextRequest()
  for (let n = 0; n < 4; n++) assert.equal((await requestOnce(gw.port)).status, 200)
  stuck.leave('rst')
})

test('a connection that idles longer than pool.keepalive is closed by us, in the orderly way', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { keepalive: 200ms }'))
  const response = await requestOnce(gw.port)
  const end = await upstream.connections[0]?.closed
  assert.equal(end?.how, 'fin')
  const idledMs = (end?.at ?? 0) - response.doneAt
  assert.ok(idledMs > 150 && idledMs < slack(1500), `${idledMs} ms`)
  await requestOnce(gw.port)
  assert.equal(upstream.counters.connections, 2)
})

test('the keep-alive time that the upstream announces is shorter than ours: we close before it does', async t => {
  const upstream = await startUpstream(answer({ headers: [['Keep-Alive', 'timeout=2']] }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { keepalive: 60s }'))
  const response = await requestOnce(gw.port)
  const end = await upstream.connections[0]?.closed
  assert.equal(end?.how, 'fin')
  assert.ok((end?.at ?? 0) - response.doneAt < slack(2000))
})

test('a connection older than pool.max_age serves no further request', async t => {
  const upstream = await startUpstream(answer({ delayHeadersMs: 60 }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_age: 100ms, keepalive: 60s }'))
  for (let n = 0; n < 4; n++) assert.equal((await requestOnce(gw.port)).status, 200)
  assert.equal(upstream.counters.connections, 2, 'two requests of 60 ms each are older than 100 ms')
  assert.ok(upstream.connections.every(({ ended }) => ended === undefined || ended.how === 'fin'))
})

test('an idle connection is closed when it is older than pool.max_age, and not before', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_age: 300ms, keepalive: 60s }'))
  const response = await requestOnce(gw.port)
  const end = await upstream.connections[0]?.closed
  assert.equal(end?.how, 'fin')
  // It is older than the response that it brought, by less than the whole exchange.
  const idleMs = (end?.at ?? 0) - response.doneAt
  assert.ok(idleMs > 0 && idleMs < 300 + slack(2000), `${idleMs} ms`)
})

test('an upstream that says Connection: close gets a fresh connection each time, and nobody is told', async t => {
  const upstream = await startUpstream(answer({ keepAlive: false }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 1 }'))
  const client = await openClient(gw.port)
  for (let n = 0; n < 3; n++) {
    const response = await client.request().response
    assert.deepEqual([response.status, response.complete, response.ended], [200, true, 'open'])
    assert.equal(response.header('connection')?.toLowerCase() ?? 'keep-alive', 'keep-alive')
  }
  client.leave('rst')
  assert.equal(upstream.counters.connections, 3)
})

test('HEAD: no body, the Content-Length is kept, and the next request is served', async t => {
  const upstream = await startUpstream(answer({ body: 5000 }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 1 }'))
  const client = await openClient(gw.port)
  for (const method of ['HEAD', 'HEAD', 'GET']) {
    const response = await client.request({ method }).response
    assert.deepEqual([response.status, response.header('content-length')], [200, '5000'])
    assert.equal(response.body.length, method === 'GET' ? 5000 : 0)
    assert.equal((await gw.line()).outcome, 'completed')
  }
  client.leave('rst')
})

test('an idle connection on which the upstream speaks unasked is not used again', async t => {
  const bytes = 'HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n'
  const upstream = await startUpstream({ on: 'idle', then: 'speak', afterMs: 30, bytes })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  assert.equal((await requestOnce(gw.port)).status, 200)
  await upstream.connections[0]?.closed
  const response = await requestOnce(gw.port)
  assert.deepEqual([response.status, response.body.toString()], [200, 'ok\n'])
  assert.equal(upstream.counters.connections, 2)
})
