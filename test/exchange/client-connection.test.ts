/** Connections on which no request comes, or half of one: `listen.timeouts.headers` and `keepalive`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reads } from './waiting.ts'

/** What a busy machine adds; the overrun itself is in the diagnostics. */
const NOISE_MS = 4000
const HALF_A_HEAD = 'GET /half HTTP/1.1\r\nHost: a.exam'

const CASES: readonly { what: string; before: (client: RawClient) => Promise<void>; earlier: number }[] = [
  { what: 'that sends nothing', before: async () => {}, earlier: 0 },
  { what: 'that sends half a head', before: client => client.send(HALF_A_HEAD), earlier: 0 },
  {
    what: 'that sends half a head a byte at a time',
    before: async client => void client.drip(HALF_A_HEAD.repeat(4), { bytesPerTick: 1, tickMs: 50 }),
    earlier: 0,
  },
  {
    what: 'that sends half of a second head on its kept connection',
    before: async client => {
      await client.request({ path: '/first' }).response
      await client.send(HALF_A_HEAD)
    },
    earlier: 1,
  },
]

for (const { what, before, earlier } of CASES) {
  test(`a connection ${what}: 408 when listen.timeouts.headers has passed, and the connection is closed`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const listen = '  timeouts: { headers: 500ms }'
    const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
    const client = await openClient(gw.port)
    const from = performance.now()
    await before(client)
    const response = await client.expect().response
    const took = response.doneAt - from
    assert.equal(response.status, 408)
    assert.ok(took >= 495 && took < 500 + NOISE_MS, `after ${took} ms`)
    assert.equal(response.header('connection'), 'close')
    const problem = JSON.parse(response.body.toString())
    assert.deepEqual([problem.outcome, problem.stage], ['client_timeout', 'request_headers'])
    assert.equal((await client.closed).how, 'fin')
    await reads(gw, earlier + 1, 'hopgate_requests_total')
    const line = gw.lines[earlier]
    assert.deepEqual(
      [line?.outcome, line?.stage, line?.status, line?.party, line?.route],
      ['client_timeout', 'request_headers', 408, 'client', '_none'],
    )
    assert.equal(await gw.metric('hopgate_client_connections_total', { result: 'header_timeout' }), 1)
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'listen.timeouts.headers' }), 1)
    t.diagnostic(`headers fired ${(took - 500).toFixed(1)} ms late`)
  })
}

for (const method of ['GET', 'POST']) {
  test(`a connection that idles after its ${method}: closed when keepalive has passed, and that is no exchange`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const listen = '  timeouts: { keepalive: 400ms }'
    const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
    const client = await openClient(gw.port)
    for (const path of ['/one', '/two', '/three']) {
      await client.request({ path, method, ...(method === 'POST' ? { body: 'x' } : {}) }).response
    }
    const from = performance.now()
    const end = await client.closed
    assert.equal(end.how, 'fin')
    assert.ok(end.at - from >= 390 && end.at - from < 400 + NOISE_MS, `after ${end.at - from} ms`)
    assert.equal(gw.lines.length, 3)
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'listen.timeouts.keepalive' }), 1)
    await reads(gw, 0, 'hopgate_client_connections')
    t.diagnostic(`keepalive closed ${(end.at - from - 400).toFixed(1)} ms late`)
  })
}

test('a request that takes longer than keepalive: the connection is not idle meanwhile', async t => {
  const upstream = await startUpstream(answer({ delayHeadersMs: 500 }))
  t.after(() => upstream.close())
  const listen = '  timeouts: { keepalive: 200ms }'
  const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
  const client = await openClient(gw.port)
  assert.equal((await client.request({ path: '/one' }).response).status, 200)
  assert.equal((await client.request({ path: '/two' }).response).status, 200)
  assert.equal((await client.closed).how, 'fin')
})

test('a client that leaves in the middle of its head: no upstream is asked, and the connection is gone', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  for (const how of ['fin', 'rst'] as const) {
    const client = await openClient(gw.port)
    await client.send(HALF_A_HEAD)
    client.leave(how)
    await reads(gw, 0, 'hopgate_client_connections')
  }
  assert.equal(upstream.counters.requests, 0)
})
