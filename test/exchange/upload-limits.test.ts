/** What is asked before an upload is let in: `Expect: 100-continue` and `limits.body`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sharedBlackHole } from '../../src/prove/black-hole.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { patternBytes } from '../../src/prove/wire.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reaches } from './waiting.ts'

const EXPECT = ['Expect', '100-continue'] as const

test('a client that asks before it uploads: it is invited when the slot is ours, and the upstream is not asked again', async t => {
  const upstream = await startUpstream(request =>
    request.path === '/first' ? { on: 'headers', then: 'hang' } : answer(),
  )
  t.after(() => upstream.close())
  const route = 'timeouts: { queue: 10s }'
  const gw = await startTestGateway(t, simple(upstream.url, route, 'pool: { max_connections: 1 }'))
  const first = await openClient(gw.port)
  const held = first.request({ path: '/first' })
  const holder = await upstream.nextRequest()
  const client = await openClient(gw.port)
  const pending = client.requestHead({ method: 'POST', path: '/asks', headers: [EXPECT, ['Content-Length', '11']] })
  await reaches(gw, '/asks', 'queue')
  assert.equal(pending.interim.length, 0, 'no invitation while it waits for a slot')
  await holder.answer()
  await held.response
  await pending.interimReached(1)
  assert.equal(pending.interim[0]?.status, 100)
  await client.send('hello world')
  const response = await pending.response
  assert.deepEqual([response.status, response.interim.length], [200, 1])
  const seen = await upstream.nextRequest()
  assert.equal(seen.header('expect'), undefined)
  assert.equal(seen.body.toString(), 'hello world')
  client.leave('fin')
  first.leave('fin')
})

test('a client that asks before it uploads, and no connection comes about: refused without an invitation', async t => {
  const { port } = await sharedBlackHole()
  const gw = await startTestGateway(t, simple(`http://127.0.0.1:${port}`, 'timeouts: { connect: 200ms }'))
  const client = await openClient(gw.port)
  const headers = [EXPECT, ['Content-Length', '11']] as const
  const response = await client.requestHead({ method: 'POST', path: '/asks', headers }).response
  assert.deepEqual([response.status, response.interim.length], [504, 0])
  assert.equal(response.header('connection'), 'close')
  assert.equal((await client.closed).how, 'fin')
})

test('a client that asks before it uploads too much: 413 without an invitation', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'limits: { body: 1KiB }'))
  const client = await openClient(gw.port)
  const headers = [EXPECT, ['Content-Length', '1025']] as const
  const response = await client.requestHead({ method: 'POST', path: '/asks', headers }).response
  assert.deepEqual([response.status, response.interim.length], [413, 0])
  assert.equal(upstream.counters.connections, 0)
  client.leave('fin')
})

test('a client that asks and does not wait for the invitation: its body is taken all the same', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port)
  const response = await client.request({ method: 'POST', path: '/asks', headers: [EXPECT], body: 'at once' }).response
  assert.equal(response.status, 200)
  assert.equal((await upstream.nextRequest()).body.toString(), 'at once')
  client.leave('fin')
})

const LIMIT = 64 * 1024

test('an upload of exactly limits.body, by Content-Length and by chunks: it passes', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'limits: { body: 64KiB }'))
  const client = await openClient(gw.port)
  for (const chunked of [false, true]) {
    const response = await client.request({ method: 'POST', path: '/fits', body: LIMIT, chunked }).response
    assert.equal(response.status, 200)
    assert.equal((await (await upstream.nextRequest()).uploaded).bytes, LIMIT)
  }
  client.leave('fin')
})

test('an upload whose Content-Length is above limits.body: 413 at once, and no upstream is asked', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'limits: { body: 64KiB }'))
  const client = await openClient(gw.port)
  const response = await client.request({ method: 'POST', path: '/big', body: 8 * 1024 * 1024 }).response
  assert.deepEqual([response.status, response.complete], [413, true])
  assert.equal(response.header('connection'), 'close')
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage, line.party], ['body_too_large', 'request_body', 'client'])
  assert.equal(upstream.counters.connections, 0)
  client.leave('fin')
})

test('a chunked upload that grows above limits.body: 413, and the upstream is reset before it has a whole request', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'limits: { body: 64KiB }'))
  const client = await openClient(gw.port)
  const chunk = Buffer.concat([Buffer.from('8000\r\n'), patternBytes(LIMIT / 2), Buffer.from('\r\n')])
  const pending = client.requestHead({ method: 'POST', path: '/grows', chunked: true })
  await client.send(chunk)
  const request = await upstream.nextRequest()
  await request.bodyReached(LIMIT / 2)
  for (let sent = 0; sent < 32; sent++) client.send(chunk).catch(() => {})
  const response = await pending.response
  assert.deepEqual([response.status, response.complete], [413, true])
  assert.equal(response.header('connection'), 'close')
  assert.equal((await request.connection.closed).how, 'rst')
  assert.ok(!request.isUploadComplete && request.bodyBytes <= LIMIT)
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage, line.status], ['body_too_large', 'request_body', 413])
  client.leave('fin')
})
