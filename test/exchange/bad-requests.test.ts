/** What is not HTTP, or not for us: a proper refusal, a record, and no upstream is asked. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reads } from './waiting.ts'

interface Refused {
  readonly what: string
  readonly bytes: string
  readonly status: number
  readonly outcome: string
  readonly stage: string
  readonly head?: true
}

const HOST = 'Host: a.example\r\n'
const bad = { outcome: 'bad_request', stage: 'request_headers' }

const REFUSED: readonly Refused[] = [
  { what: 'HTTP/1.1 without Host', bytes: 'GET / HTTP/1.1\r\n\r\n', status: 400, ...bad },
  { what: 'two Hosts', bytes: `GET / HTTP/1.1\r\n${HOST}Host: b.example\r\n\r\n`, status: 400, ...bad },
  { what: 'no HTTP at all', bytes: 'hello there\r\n\r\n', status: 400, ...bad },
  { what: 'a TLS ClientHello', bytes: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', status: 400, ...bad },
  {
    what: 'Content-Length beside Transfer-Encoding',
    bytes: `POST / HTTP/1.1\r\n${HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    status: 400,
    ...bad,
  },
  {
    what: 'two Content-Lengths',
    bytes: `POST / HTTP/1.1\r\n${HOST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
    status: 400,
    ...bad,
  },
  {
    what: 'a bad Content-Length',
    bytes: `POST / HTTP/1.1\r\n${HOST}Content-Length: five\r\n\r\n`,
    status: 400,
    ...bad,
  },
  { what: 'a space before the colon', bytes: `GET / HTTP/1.1\r\n${HOST}X : y\r\n\r\n`, status: 400, ...bad },
  { what: 'a backslash in the path', bytes: `GET /a\\b HTTP/1.1\r\n${HOST}\r\n`, status: 400, ...bad },
  { what: 'an encoded slash', bytes: `GET /a%2fb HTTP/1.1\r\n${HOST}\r\n`, status: 400, ...bad },
  { what: 'a path above the root', bytes: `GET /../etc/passwd HTTP/1.1\r\n${HOST}\r\n`, status: 400, ...bad },
  { what: 'an encoded path above the root', bytes: `GET /%2e%2e/x HTTP/1.1\r\n${HOST}\r\n`, status: 400, ...bad },
  { what: 'a fragment', bytes: `GET /a#b HTTP/1.1\r\n${HOST}\r\n`, status: 400, ...bad },
  { what: 'an asterisk', bytes: `GET * HTTP/1.1\r\n${HOST}\r\n`, status: 400, ...bad },
  {
    what: 'another authority than its Host',
    bytes: `GET http://b.example/ HTTP/1.1\r\n${HOST}\r\n`,
    status: 400,
    ...bad,
  },
  { what: 'a target of 20 KB', bytes: `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${HOST}\r\n`, status: 414, ...bad },
  {
    what: 'header fields of 20 KB',
    bytes: `GET / HTTP/1.1\r\n${HOST}X: ${'a'.repeat(20_000)}\r\n\r\n`,
    status: 431,
    ...bad,
  },
  {
    what: 'a thousand header fields',
    bytes: `GET / HTTP/1.1\r\n${HOST}${'Some-Header-Name: v\r\n'.repeat(1000)}\r\n`,
    status: 431,
    ...bad,
  },
  {
    what: 'CONNECT',
    bytes: `CONNECT a.example:443 HTTP/1.1\r\n${HOST}\r\n`,
    status: 405,
    outcome: 'no_route',
    stage: 'route',
  },
  { what: 'TRACE', bytes: `TRACE / HTTP/1.1\r\n${HOST}\r\n`, status: 405, outcome: 'no_route', stage: 'route' },
]

for (const { what, bytes, status, outcome, stage } of REFUSED) {
  test(`a request with ${what}: ${status} ${outcome}, and no upstream is asked`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    const pending = client.expect()
    await client.send(Buffer.from(bytes, 'latin1'))
    const response = await pending.response
    assert.deepEqual([response.status, response.complete], [status, true])
    assert.equal(response.header('content-type'), 'application/problem+json')
    assert.match(response.header('proxy-status') ?? '', new RegExp(`^hopgate; error=.*"${outcome}"$`))
    assert.equal(response.header('x-request-id'), JSON.parse(response.body.toString()).request_id)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status, line.party], [outcome, stage, status, 'client'])
    assert.equal(await gw.metric('hopgate_requests_total', { route: '_none', code: String(status), outcome }), 1)
    if (response.header('connection') === 'close') assert.equal((await client.closed).how, 'fin')
    client.leave('fin')
    assert.equal(upstream.counters.connections, 0)
    assert.equal(gw.lines.length, 1)
  })
}

for (const [what, delayHeadersMs] of [
  ['at once', 0],
  ['late', 200],
] as const) {
  test(`a valid request that is answered ${what}, and garbage right behind it: the answer, then 400, then the close`, async t => {
    const upstream = await startUpstream(answer({ body: 'fine', delayHeadersMs }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    const [valid, garbage] = [client.expect().response, client.expect().response]
    await client.send(`GET /valid HTTP/1.1\r\n${HOST}\r\nthis is not HTTP\r\n\r\n`)
    assert.deepEqual([(await valid).status, (await valid).body.toString()], [200, 'fine'])
    assert.deepEqual([(await garbage).status, (await garbage).complete], [400, true])
    assert.equal((await client.closed).how, 'fin')
    await reads(gw, 2, 'hopgate_requests_total')
    assert.deepEqual(
      gw.lines.map(line => line.outcome),
      ['completed', 'bad_request'],
    )
    assert.equal(upstream.counters.requests, 1)
  })
}

const CHUNKS = [
  ['a chunk size that is none', '5\r\nhello\r\nzz\r\n'],
  ['a chunk that is longer than it said', '5\r\nhello, world\r\n'],
] as const

for (const [what, chunks] of CHUNKS) {
  test(`a chunked upload with ${what}: 400, and the upstream is reset before it has a whole request`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    const pending = client.requestHead({ method: 'POST', path: '/broken', headers: [['Transfer-Encoding', 'chunked']] })
    await client.send('4\r\nwell\r\n')
    const request = await upstream.nextRequest()
    await request.bodyReached(4)
    await client.send(chunks)
    const response = await pending.response
    assert.deepEqual([response.status, response.complete], [400, true])
    assert.equal(JSON.parse(response.body.toString()).outcome, 'bad_request')
    assert.equal((await request.connection.closed).how, 'rst')
    assert.equal(request.isUploadComplete, false)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.status, line.party, line.route], ['bad_request', 400, 'client', 'r'])
    await client.closed
    assert.equal(gw.lines.length, 1)
  })
}

test('a chunked upload that breaks in the same packet as its head: 400, once', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port)
  const pending = client.expect('POST')
  await client.send(`POST /broken HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`)
  assert.equal((await pending.response).status, 400)
  await client.closed
  assert.deepEqual((await gw.line()).outcome, 'bad_request')
  assert.equal(gw.lines.length, 1)
})
