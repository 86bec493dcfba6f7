/** Uploads: they arrive whole, and whatever becomes of the upstream meanwhile, the client reads a proper answer. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { sharedBlackHole } from '../../src/prove/black-hole.ts'
import { answer, type RequestFault } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import type { RawRequest } from '../../src/prove/raw-request.ts'
import { patternBytes } from '../../src/prove/wire.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reads } from './waiting.ts'

const MIB = 1024 * 1024

const UPLOADS: readonly (readonly [string, RawRequest])[] = [
  ['POST by Content-Length', { method: 'POST', body: MIB }],
  ['POST by chunks', { method: 'POST', body: MIB, chunked: true }],
  [
    'PUT of JSON by chunks',
    { method: 'PUT', body: MIB, chunked: true, headers: [['Content-Type', 'application/json']] },
  ],
  ['PATCH of text', { method: 'PATCH', body: MIB, headers: [['Content-Type', 'text/plain']] }],
  [
    'DELETE with a body',
    { method: 'DELETE', body: MIB, headers: [['Content-Type', 'multipart/form-data; boundary=x']] },
  ],
  ['GET with a body', { method: 'GET', body: MIB }],
  ['empty POST', { method: 'POST', body: 0 }],
  ['empty POST by chunks', { method: 'POST', body: 0, chunked: true }],
]

for (const [what, request] of UPLOADS) {
  test(`${what}: the upstream gets every byte, the client gets the whole answer, and its connection serves on`, async t => {
    const upstream = await startUpstream(answer({ body: MIB }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    for (let round = 0; round < 2; round++) {
      const response = await client.request({ path: '/echo', ...request }).response
      assert.equal(response.status, 200)
      assert.ok(response.body.equals(patternBytes(MIB)))
      const seen = await upstream.nextRequest()
      const sent = patternBytes(request.body as number)
      assert.equal((await seen.uploaded).sha256, createHash('sha256').update(sent).digest('hex'))
      const line = await gw.line()
      assert.deepEqual([line.outcome, line['rx_bytes'], line['tx_bytes']], ['completed', sent.length, MIB])
    }
    client.leave('fin')
  })
}

const RESTS = ['read', 'stop-reading', 'fin', 'rst'] as const

for (const status of [401, 413]) {
  for (const rest of RESTS) {
    for (const chunked of [false, true]) {
      const upload = chunked ? 'a chunked upload' : 'an upload'
      test(`an early ${status} while ${upload} is coming, the upstream then does ${rest}: relayed whole, then the connection is closed`, async t => {
        const early = { status, body: 150_000 }
        const upstream = await startUpstream({
          on: 'request',
          then: 'answer-early',
          afterBytes: 50_000,
          rest,
          answer: early,
        })
        t.after(() => upstream.close())
        const gw = await startTestGateway(t, simple(upstream.url, 'limits: { body: 64MiB }'))
        const client = await openClient(gw.port)
        // One sends on and on; the other a megabyte, and then nothing for a while.
        const all = { method: 'POST', path: '/early', body: 32 * MIB }
        const pending = chunked ? client.requestHead({ ...all, chunked }) : client.request(all)
        if (chunked) await client.send(Buffer.concat([Buffer.from('100000\r\n'), patternBytes(MIB)]))
        const response = await pending.response
        assert.deepEqual([response.status, response.complete, response.body.length], [status, true, 150_000])
        assert.equal(response.header('connection'), 'close')
        assert.equal((await client.closed).how, 'fin')
        const line = await gw.line()
        assert.deepEqual([line.outcome, line.status], ['completed', status])
        await reads(gw, 0, 'hopgate_pool_connections', { state: 'active' })
      })
    }
  }
}

const FAILURES: readonly (readonly [RequestFault['then'], number])[] = [
  ['rst', 0],
  ['rst', 500_000],
  ['fin', 0],
  ['fin', 500_000],
]

for (const [then, afterBytes] of FAILURES) {
  test(`an upstream that does ${then} after ${afterBytes} bytes of a large upload: the client reads a proper 502`, async t => {
    const upstream = await startUpstream({ on: 'request', then: then as 'fin' | 'rst', afterBytes })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    const response = await client.request({ method: 'POST', path: '/fails', body: 8 * MIB }).response
    assert.deepEqual([response.status, response.complete], [502, true])
    assert.equal(JSON.parse(response.body.toString()).outcome, 'reset')
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status, line.party], ['reset', 'request_write', 502, 'upstream'])
    assert.ok(line['error'], 'the original error is told')
    client.leave('fin')
  })
}

const DIALS = [
  {
    what: 'refuses the dial',
    port: async () => (await startUpstream({ on: 'dial', then: 'refuse' })).port,
    is: 'connect_refused',
    status: 502,
  },
  { what: 'is a black hole', port: async () => (await sharedBlackHole()).port, is: 'connect_timeout', status: 504 },
] as const

for (const { what, port, is, status } of DIALS) {
  test(`an upstream that ${what} during a large upload: the client reads a proper ${status}`, async t => {
    const gw = await startTestGateway(t, simple(`http://127.0.0.1:${await port()}`, 'timeouts: { connect: 300ms }'))
    const client = await openClient(gw.port)
    const response = await client.request({ method: 'POST', path: '/fails', body: 8 * MIB }).response
    assert.deepEqual([response.status, response.complete], [status, true])
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status, line.party], [is, 'connect', status, 'upstream'])
    client.leave('fin')
  })
}

test('an upstream that takes the whole upload and hangs: 504, and the connection of the client serves on', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { response_headers: 300ms }'))
  const client = await openClient(gw.port)
  const response = await client.request({ method: 'POST', path: '/hangs', body: 2 * MIB }).response
  assert.deepEqual([response.status, response.complete, response.ended], [504, true, 'open'])
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage], ['response_headers_timeout', 'response_headers'])
  upstream.behave(answer())
  assert.equal((await client.request({ path: '/next' }).response).status, 200)
  client.leave('fin')
})
