/** Uploads that come slowly, and upstreams that read them slowly: whose clock runs, and who is blamed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reads } from './waiting.ts'

/** What a busy machine adds; the overrun itself is in the diagnostics. */
const NOISE_MS = 4000

for (const framing of [['Content-Length', '5000'] as const, ['Transfer-Encoding', 'chunked'] as const]) {
  test(`an upload by ${framing[0]} that stops: 408 when the client's body_idle has passed, and the upstream is reset`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const listen = '  timeouts: { body_idle: 400ms }'
    const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
    const client = await openClient(gw.port)
    const pending = client.requestHead({ method: 'POST', path: '/stops', headers: [framing] })
    await client.send('5\r\nhello\r\n')
    const request = await upstream.nextRequest()
    await request.bodyReached(5)
    const response = await pending.response
    assert.deepEqual([response.status, response.complete], [408, true])
    assert.equal(response.header('connection'), 'close')
    assert.equal(response.header('content-type'), 'application/problem+json')
    assert.equal(JSON.parse(response.body.toString()).outcome, 'client_timeout')
    const took = response.doneAt - response.sentAt
    assert.ok(took >= 400 && took < 400 + NOISE_MS, `after ${took} ms`)
    assert.equal((await request.connection.closed).how, 'rst')
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.party],
      ['client_timeout', 'request_body', 408, 'client'],
    )
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'listen.timeouts.body_idle' }), 1)
    const overrun = await gw.metric('hopgate_timeout_overrun_seconds_sum', { timeout: 'listen.timeouts.body_idle' })
    t.diagnostic(`body_idle (client) fired ${(overrun * 1000).toFixed(1)} ms late`)
    assert.equal((await client.closed).how, 'fin')
  })
}

test('an upload of one byte in every half of body_idle: it is never late', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const listen = '  timeouts: { body_idle: 400ms }\n  min_body_rate: off'
  const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
  const client = await openClient(gw.port)
  const pending = client.requestHead({ method: 'POST', path: '/drips', headers: [['Content-Length', '8']] })
  await client.drip('eight by', { bytesPerTick: 1, tickMs: 150 })
  assert.equal((await pending.response).status, 200)
  assert.equal((await gw.line()).outcome, 'completed')
})

test('an upload of one byte in every interval, below min_body_rate: 408, though body_idle never passes', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const listen = '  timeouts: { body_idle: 5s }\n  min_body_rate: { rate: 100B/s, grace: 500ms }'
  const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
  const client = await openClient(gw.port)
  const pending = client.requestHead({ method: 'POST', path: '/drips', headers: [['Content-Length', '1000']] })
  const dripped = client.drip(Buffer.alloc(1000, 'u'), { bytesPerTick: 1, tickMs: 50 })
  const response = await pending.response
  const took = response.doneAt - response.sentAt
  assert.equal(response.status, 408)
  assert.ok(took >= 500 && took < 500 + NOISE_MS, `after ${took} ms`)
  await client.closed
  await dripped
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage, line.status], ['client_timeout', 'request_body', 408])
  assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'listen.min_body_rate' }), 1)
  const overrun = await gw.metric('hopgate_timeout_overrun_seconds_sum', { timeout: 'listen.min_body_rate' })
  t.diagnostic(`min_body_rate fired ${(overrun * 1000).toFixed(1)} ms late`)
})

test('an upstream that stops reading the upload: request_write_timeout, 504, and the client is not blamed', async t => {
  const upstream = await startUpstream({ on: 'request', then: 'stop-reading', afterBytes: 100_000 })
  t.after(() => upstream.close())
  const listen = '  timeouts: { body_idle: 200ms }\n  min_body_rate: { rate: 1MiB/s, grace: 200ms }'
  const route = 'timeouts: { request_write: 700ms, request: 30s }, limits: { body: 64MiB }'
  const gw = await startTestGateway(t, { ...simple(upstream.url, route), listen })
  const client = await openClient(gw.port)
  const response = await client.request({ method: 'POST', path: '/up', body: 48 * 1024 * 1024 }).response
  assert.deepEqual([response.status, response.complete], [504, true])
  assert.equal(JSON.parse(response.body.toString()).outcome, 'request_write_timeout')
  const request = await upstream.nextRequest()
  assert.equal((await request.connection.closed).how, 'rst')
  const took = response.doneAt - response.sentAt
  assert.ok(took >= 700 && took < 700 + 2 * NOISE_MS, `after ${took} ms`)
  const line = await gw.line()
  assert.deepEqual(
    [line.outcome, line.stage, line.status, line.party],
    ['request_write_timeout', 'request_write', 504, 'upstream'],
  )
  assert.equal(await gw.metric('hopgate_timeouts_total'), 1)
  const overrun = await gw.metric('hopgate_timeout_overrun_seconds_sum', { timeout: 'request_write' })
  t.diagnostic(`request_write fired ${(overrun * 1000).toFixed(1)} ms late`)
  client.leave('rst')
})

test('an upstream that reads the upload slowly, and takes something in every request_write: nobody is blamed', async t => {
  const uploadBytes = 12 * 1024 * 1024
  const upstream = await startUpstream({ on: 'request', then: 'drip', pace: { bytesPerTick: 64 * 1024, tickMs: 10 } })
  t.after(() => upstream.close())
  const listen = '  timeouts: { body_idle: 1500ms }\n  min_body_rate: { rate: 8MiB/s, grace: 1500ms }'
  const route = 'timeouts: { request_write: 1500ms }, limits: { body: 64MiB }'
  const gw = await startTestGateway(t, { ...simple(upstream.url, route), listen })
  const client = await openClient(gw.port)
  const response = await client.request({ method: 'POST', path: '/up', body: uploadBytes }).response
  assert.equal(response.status, 200)
  const request = await upstream.nextRequest()
  assert.equal((await request.uploaded).bytes, uploadBytes)
  const line = await gw.line()
  assert.deepEqual([line.outcome, line['rx_bytes']], ['completed', uploadBytes])
  client.leave('fin')
  await reads(gw, 0, 'hopgate_timeouts_total')
})
