/** The invariant "nothing outlives its deadline by more than 1 s", with and without timers that are lost. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Deadlines } from '../../src/exchange/deadlines.ts'
import { type Behaviour, startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000
  while (!(await holds())) {
    assert.ok(performance.now() < end, `not within 20 s: ${what}`)
    await delay(20)
  }
}

async function gatewayFor(t: TestContext, behaviour: Behaviour, route: string): Promise<TestGateway> {
  const upstream = await startUpstream(behaviour)
  t.after(() => upstream.close())
  return startTestGateway(t, simple(upstream.url, route))
}

const health = async (gw: TestGateway) => (await gw.admin('/healthz')).status

test('a stuck upstream and a lost timer: counted once, logged once with its timeline, and /healthz is red until it is over', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { response_headers: 200ms, request: 5s }'))
  assert.equal(await health(gw), 200)
  // The native timer runs, and nobody looks.
  const lost = t.mock.method(Deadlines.prototype, 'look', () => {})
  const client = await openClient(gw.port)
  const pending = client.request({ path: '/stuck' })
  const request = await upstream.nextRequest()
  await until('/healthz is red', async () => (await health(gw)) === 503)
  const { body } = await gw.admin('/healthz')
  assert.deepEqual(body, { status: 'failing', reasons: ['1 exchange has outlived a deadline: /-/stuck'] })
  const count = (stage: string) => gw.metric('hopgate_overdue_requests_total', { route: 'r', stage })
  assert.equal(await count('response_headers'), 1)
  const logged = () => gw.events.filter(event => String(event['msg']).startsWith('an exchange has outlived'))
  const [line = {}] = logged()
  const { level, route, stage, timeout, endpoint } = line
  assert.deepEqual(
    [level, route, stage, timeout, endpoint],
    ['error', 'r', 'response_headers', 'response_headers', upstream.url],
  )
  assert.ok((line['overdue_ms'] as number) > 1000 && (line['t_response_headers'] as number) > 1200)
  // Two more sweeps find the same exchange.
  await delay(2200)
  assert.deepEqual([await count('response_headers'), logged().length], [1, 1])
  lost.mock.restore()
  await request.answer()
  assert.equal((await pending.response).status, 200)
  await until('/healthz is green', async () => (await health(gw)) === 200)
})

test('every timeout in its place, long waits, and streams without a deadline: nothing is overdue', async t => {
  const gw = await gatewayFor(t, { on: 'headers', then: 'hang' }, 'timeouts: { response_headers: 1500ms, request: 5s }')
  const streaming = await gatewayFor(
    t,
    { on: 'headers', then: 'hang' },
    'streaming: true, timeouts: { response_headers: off, body_idle: off }',
  )
  const waiting = await openClient(streaming.port)
  waiting.request()
  const client = await openClient(gw.port)
  assert.equal((await client.request().response).status, 504)
  await delay(1200)
  for (const each of [gw, streaming]) {
    assert.equal(await each.metric('hopgate_overdue_requests_total'), 0)
    assert.equal(await health(each), 200)
  }
  waiting.leave('rst')
})

test('a process that stood still for 3 s, with timeouts due meanwhile: they fire late, and nothing is overdue', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { response_headers: 1s, request: 5s }'))
  const client = await openClient(gw.port)
  const pending = client.request()
  await upstream.nextRequest()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000)
  assert.equal((await pending.response).status, 504)
  await delay(1200)
  assert.equal(await gw.metric('hopgate_overdue_requests_total'), 0)
})
