/** `on_client_abort: finish`: the client is gone, the upstream's work goes on to its end, within its own timeouts. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { type Behaviour, startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import type { RawRequest } from '../../src/prove/raw-request.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reaches, reads } from './waiting.ts'

async function begin(t: TestContext, behaviour: Behaviour, request: RawRequest, timeouts = '') {
  const upstream = await startUpstream(behaviour)
  t.after(() => upstream.close())
  const route = `on_client_abort: finish${timeouts === '' ? '' : `, timeouts: { ${timeouts} }`}`
  const gw = await startTestGateway(t, simple(upstream.url, route, 'pool: { max_connections: 1 }'))
  const client = await openClient(gw.port)
  const pending = client.request({ path: '/work', ...request })
  return { upstream, gw, client, pending, seen: await upstream.nextRequest() }
}

const REQUESTS: readonly RawRequest[] = [{ method: 'GET' }, { method: 'POST', body: 20_000 }]

for (const how of ['fin', 'rst'] as const) {
  for (const request of REQUESTS) {
    const title = `${request.method}: a client that leaves by ${how} while we await headers, on finish`
    test(`${title}: the upstream's answer is read, thrown away and counted, as client_abort`, async t => {
      const { upstream, gw, client, seen } = await begin(t, { on: 'headers', then: 'hang' }, request)
      await reaches(gw, '/work', 'response_headers')
      client.leave(how)
      await reads(gw, 0, 'hopgate_client_connections')
      assert.equal(gw.lines.length, 0, 'the exchange is not over before the upstream is')
      assert.equal(await gw.metric('hopgate_inflight_requests'), 1)
      await seen.answer({ body: 300_000 })
      const line = await gw.line()
      assert.deepEqual(
        [line.outcome, line.stage, line.status, line.party, line['aborted_write_bytes'], line['tx_bytes']],
        ['client_abort', 'response_headers', 499, 'client', 300_000, 0],
      )
      assert.equal(await gw.metric('hopgate_aborted_write_bytes_total', { route: 'r' }), 300_000)
      assert.equal(await gw.metric('hopgate_requests_total', { code: '499', outcome: 'client_abort' }), 1)
      assert.equal(await gw.metric('hopgate_client_abort_age_seconds_count', { route: 'r' }), 1)
      assert.equal(await gw.metric('hopgate_upstream_cancel_seconds_count', { route: 'r' }), 0)
      // Nothing was cancelled: the connection is whole, and the next exchange uses it.
      upstream.behave(answer())
      const next = await openClient(gw.port)
      assert.equal((await next.request({ path: '/next' }).response).status, 200)
      next.leave('rst')
      assert.equal((await gw.line())['reused'], true)
      assert.equal(upstream.counters.connections, 1)
    })
  }

  test(`a client that leaves by ${how} while it does not read a large body, on finish: the upstream delivers all of it`, async t => {
    const bodyBytes = 48 * 1024 * 1024
    const { gw, client, pending, seen } = await begin(t, answer({ body: bodyBytes }), { method: 'GET' })
    await pending.headers
    client.pause()
    await reaches(gw, '/work', 'client_write')
    client.leave(how)
    await seen.answered
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.party],
      ['client_abort', 'client_write', 200, 'client'],
    )
    const lost = line['aborted_write_bytes'] as number
    assert.ok(lost > 0 && lost <= bodyBytes, `${lost} bytes were for nobody`)
    assert.equal(await gw.metric('hopgate_aborted_write_bytes_total', { route: 'r' }), lost)
    assert.equal(seen.connection.ended, undefined)
  })
}

const TIMEOUTS = [
  { name: 'response_headers', behaviour: { on: 'headers', then: 'hang' }, stage: 'response_headers', status: 499 },
  { name: 'body_idle', behaviour: { on: 'body', then: 'hang', afterBytes: 300 }, stage: 'response_body', status: 200 },
  { name: 'request', behaviour: { on: 'headers', then: 'hang' }, stage: 'response_headers', status: 499 },
] as const

for (const { name, behaviour, stage, status } of TIMEOUTS) {
  test(`an upstream that hangs after its client left, on finish: it is cancelled when ${name} has passed`, async t => {
    const { gw, client, pending, seen } = await begin(t, behaviour, { method: 'GET' }, `${name}: 400ms`)
    if (stage === 'response_body') await pending.bodyReached(300)
    const from = performance.now()
    client.leave('rst')
    const end = await seen.connection.closed
    assert.equal(end.how, 'rst')
    assert.ok(end.at - from < 4000, `cancelled after ${end.at - from} ms`)
    assert.ok(end.at - pending.sentAt >= 400, `cancelled ${end.at - pending.sentAt} ms after the request`)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status, line.party], ['client_abort', stage, status, 'client'])
    assert.equal(gw.lines.length, 1)
    await reads(gw, 1, 'hopgate_upstream_cancel_seconds_count', { route: 'r' })
  })
}

test('an upstream that fails after its client left, on finish: still one client_abort, and nobody else is blamed', async t => {
  const { gw, client, seen } = await begin(t, { on: 'headers', then: 'hang' }, { method: 'POST', body: 'x' })
  await reaches(gw, '/work', 'response_headers')
  client.leave('fin')
  await reads(gw, 0, 'hopgate_client_connections')
  seen.connection.destroy()
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'response_headers', 499])
  assert.equal(await gw.metric('hopgate_failures_total', { party: 'upstream' }), 0)
  assert.equal(await gw.metric('hopgate_failures_total'), 1)
})

for (const how of ['fin', 'rst'] as const) {
  test(`a client that leaves by ${how} before its upload is complete, on finish: there is nothing to finish, the upstream is reset`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, 'on_client_abort: finish'))
    const client = await openClient(gw.port)
    client.requestHead({ method: 'POST', path: '/work', headers: [['Content-Length', '100000']] })
    await client.send('some of it')
    const seen = await upstream.nextRequest()
    await seen.bodyReached(10)
    const left = performance.now()
    client.leave(how)
    const end = await seen.connection.closed
    assert.equal(end.how, 'rst')
    assert.ok(end.at - left < 250)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'request_body', 499])
  })
}
