/** The reuse race: an idle connection ends while a request is on its way to it. Sent again once, where that is safe. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { checkPoolEmpty } from './support.ts'

/** The second request of each connection meets its end: just what a server does that closes an idle connection. */
async function startRacing(t: TestContext, how: 'fin' | 'rst'): Promise<{ upstream: Upstream; gw: TestGateway }> {
  const upstream = await startUpstream(request =>
    request.indexOnConnection === 0 ? answer() : { on: 'request', then: how },
  )
  t.after(() => upstream.close())
  return { upstream, gw: await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 1 }')) }
}

const requests = [
  { method: 'GET', replayed: true },
  { method: 'HEAD', replayed: true },
  { method: 'OPTIONS', replayed: true },
  { method: 'DELETE', replayed: true },
  { method: 'PUT', replayed: true },
  { method: 'PUT', body: 1000, replayed: false },
  { method: 'GET', body: 1000, replayed: false },
  { method: 'POST', replayed: false },
  { method: 'POST', body: 1000, replayed: false },
  { method: 'PATCH', body: 1000, replayed: false },
] as const

for (const how of ['fin', 'rst'] as const) {
  for (const one of requests) {
    const { method, replayed } = one
    const body = 'body' in one ? one.body : undefined
    const what = `${method} ${body === undefined ? 'without' : 'with'} a body`
    const then = replayed ? 'sent again once, on a fresh connection' : '502 stale_connection, and never sent again'

    test(`${what}, and the reused connection ends by ${how} without an answer: ${then}`, async t => {
      const { upstream, gw } = await startRacing(t, how)
      const client = await openClient(gw.port)
      t.after(() => client.leave('rst'))
      assert.equal((await client.request().response).status, 200)
      await gw.line()
      const response = await client.request({ method, path: '/a', ...(body === undefined ? {} : { body }) }).response
      const line = await gw.line()
      if (replayed) {
        assert.deepEqual([response.status, response.complete], [200, true], JSON.stringify(line))
        assert.deepEqual([line.outcome, line['attempts'], line['reused']], ['completed', 2, false])
        assert.deepEqual([upstream.counters.requests, upstream.counters.connections], [3, 2])
        assert.equal(await gw.metric('hopgate_failures_total'), 0)
        return
      }
      const problem = JSON.parse(response.body.toString()) as Record<string, unknown>
      assert.deepEqual([response.status, problem['outcome']], [502, 'stale_connection'], JSON.stringify(line))
      assert.match(response.header('proxy-status') ?? '', /error=connection_terminated/)
      assert.deepEqual(
        [line.outcome, line.party, line['level'], line['attempts'], line['reused']],
        ['stale_connection', 'upstream', 'info', 1, true],
      )
      assert.ok(['request_write', 'response_headers'].includes(line.stage ?? ''))
      assert.ok(line['error'] !== undefined)
      assert.equal(upstream.counters.requests, 2)
      assert.equal(await gw.metric('hopgate_failures_total', { outcome: 'stale_connection', upstream: 'up' }), 1)
      await upstream.allClosed()
      await checkPoolEmpty(gw)
    })
  }

  test(`the fresh connection ends by ${how} as well: reset, 502, after two attempts and no more`, async t => {
    const upstream = await startUpstream(({ index }) => (index === 0 ? answer() : { on: 'request', then: how }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 1 }'))
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    assert.equal((await client.request().response).status, 200)
    await gw.line()
    assert.equal((await client.request().response).status, 502)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['attempts'], line['reused']], ['reset', 2, false])
    assert.equal(upstream.counters.requests, 3)
    upstream.behave(answer())
    assert.equal((await client.request().response).status, 200)
  })

  test(`a reused connection ends by ${how} after one byte of the answer: reset, and nothing is sent again`, async t => {
    const upstream = await startUpstream(({ indexOnConnection }) =>
      indexOnConnection === 0 ? answer() : { on: 'headers', then: how, afterBytes: 9 },
    )
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    assert.equal((await client.request().response).status, 200)
    await gw.line()
    assert.equal((await client.request().response).status, 502)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['attempts'], line['reused']], ['reset', 1, true])
    assert.equal(upstream.counters.requests, 2)
  })

  test(`an idle connection ended by ${how} long before the next request: not used, and not counted as stale`, async t => {
    const upstream = await startUpstream({ on: 'idle', then: how, afterMs: 20 })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    for (let n = 0; n < 3; n++) {
      const client = await openClient(gw.port)
      const request = n === 1 ? { method: 'POST', body: 10 } : {}
      assert.equal((await client.request(request).response).status, 200)
      client.leave('rst')
      await upstream.connections[n]?.closed
      await upstream.allClosed()
      const line = await gw.line()
      assert.deepEqual([line.outcome, line['attempts'], line['reused']], ['completed', 1, false])
    }
  })

  test(`an idle closer by ${how} races a steady stream of requests: 300 GETs, every one answered`, async t => {
    const upstream = await startUpstream({ on: 'idle', then: how, afterMs: 4 })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 4 }'))
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    for (let n = 0; n < 300; n++) {
      assert.equal((await client.request().response).status, 200)
      const until = performance.now() + 2 + (n % 5)
      while (performance.now() < until) await new Promise(resolve => setImmediate(resolve))
      const line = await gw.line()
      assert.equal(line.outcome, 'completed')
      assert.ok((line['attempts'] as number) <= 2)
    }
  })
}
