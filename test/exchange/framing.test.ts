/** Where messages end: every framing that an upstream may use, as the client sees it, and what came over one connection. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Answer, answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { patternBytes } from '../../src/prove/wire.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reads } from './waiting.ts'

interface Framed {
  readonly what: string
  readonly method?: string
  readonly answer: Answer
  /** What the client sees. */
  readonly status: number
  readonly bodyBytes: number
  readonly length: string | undefined
  readonly coding: string | undefined
}

const none = { bodyBytes: 0, length: undefined, coding: undefined }

const FRAMED: readonly Framed[] = [
  { what: 'Content-Length', answer: { body: 5000 }, status: 200, bodyBytes: 5000, length: '5000', coding: undefined },
  { what: 'an empty body', answer: { body: '' }, status: 200, bodyBytes: 0, length: '0', coding: undefined },
  {
    what: 'chunks',
    answer: { body: 200_000, framing: 'chunked' },
    status: 200,
    bodyBytes: 200_000,
    length: undefined,
    coding: 'chunked',
  },
  {
    what: 'no chunks but the last',
    answer: { body: '', framing: 'chunked' },
    status: 200,
    bodyBytes: 0,
    length: undefined,
    coding: 'chunked',
  },
  {
    what: 'the close',
    answer: { body: 200_000, framing: 'close' },
    status: 200,
    bodyBytes: 200_000,
    length: undefined,
    coding: 'chunked',
  },
  {
    what: 'Content-Length to HEAD',
    method: 'HEAD',
    answer: { body: 5000 },
    status: 200,
    bodyBytes: 0,
    length: '5000',
    coding: undefined,
  },
  { what: '204', answer: { status: 204 }, status: 204, ...none },
  { what: '204 with Content-Length', answer: { status: 204, contentLength: 0 }, status: 204, ...none },
  { what: '304', answer: { status: 304, headers: [['ETag', '"a"']] }, status: 304, ...none },
  {
    what: '304 with Content-Length',
    answer: { status: 304, contentLength: 5000 },
    status: 304,
    ...none,
    length: '5000',
  },
  {
    what: 'an error of the upstream',
    answer: { status: 503, reason: 'Not today', body: 100 },
    status: 503,
    bodyBytes: 100,
    length: '100',
    coding: undefined,
  },
]

for (const framed of FRAMED) {
  test(`an answer framed by ${framed.what}: the same to the client, twice over one connection`, async t => {
    const upstream = await startUpstream(answer(framed.answer))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    for (let round = 0; round < 2; round++) {
      const response = await client.request({ method: framed.method ?? 'GET', path: '/framed' }).response
      assert.deepEqual([response.status, response.complete, response.ended], [framed.status, true, 'open'])
      if (framed.answer.reason !== undefined) assert.equal(response.reason, framed.answer.reason)
      assert.ok(response.body.equals(patternBytes(framed.bodyBytes)))
      assert.deepEqual(
        [response.header('content-length'), response.header('transfer-encoding')],
        [framed.length, framed.coding],
      )
      assert.equal(response.header('x-request-id'), (await gw.line()).request_id)
    }
    assert.deepEqual(
      gw.lines.map(line => [line.outcome, line['tx_bytes']]),
      [
        ['completed', framed.bodyBytes],
        ['completed', framed.bodyBytes],
      ],
    )
    client.leave('fin')
  })
}

test('an answer in chunks with trailers: the trailers follow the body', async t => {
  const trailers = [
    ['X-Checksum', 'abc'],
    ['X-Count', '2'],
  ] as const
  const headers = [['Trailer', 'X-Checksum, X-Count']] as const
  const upstream = await startUpstream(answer({ body: 50_000, framing: 'chunked', headers, trailers }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gw.port, { headers: [['TE', 'trailers']] })
  assert.equal(response.complete, true)
  assert.deepEqual(
    response.trailers.map(([name, value]) => [name.toLowerCase(), value]),
    [
      ['x-checksum', 'abc'],
      ['x-count', '2'],
    ],
  )
  assert.equal(response.header('trailer'), 'X-Checksum, X-Count')
})

const OLD: readonly (readonly [string, Answer])[] = [
  ['Content-Length', { body: 5000 }],
  ['chunks', { body: 5000, framing: 'chunked' }],
  ['the close', { body: 5000, framing: 'close' }],
  [
    'chunks after a 103',
    { body: 5000, framing: 'chunked', interim: [{ status: 103, headers: [['Link', '</a>; rel=preload']] }] },
  ],
]

for (const [what, old] of OLD) {
  test(`a client of HTTP/1.0 and an answer framed by ${what}: the body without chunks, ended by the close`, async t => {
    const upstream = await startUpstream(answer(old))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    const pending = client.expect()
    await client.send('GET /old HTTP/1.0\r\n\r\n')
    const response = await pending.response
    assert.deepEqual([response.status, response.complete, response.interim.length], [200, true, 0])
    assert.ok(response.body.equals(patternBytes(5000)))
    assert.equal(response.header('transfer-encoding'), undefined)
    assert.equal((await client.closed).how, 'fin')
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['proto']], ['completed', 'HTTP/1.0'])
  })
}

test('an upstream that truncates its body for a client of HTTP/1.0: a RST, for a FIN would look like the end', async t => {
  const upstream = await startUpstream({
    on: 'body',
    then: 'fin',
    afterBytes: 3000,
    answer: { body: 5000, framing: 'chunked' },
  })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port)
  const pending = client.expect()
  await client.send('GET /old HTTP/1.0\r\n\r\n')
  const response = await pending.response
  assert.deepEqual([response.status, response.complete], [200, false])
  assert.equal((await client.closed).how, 'rst')
  assert.equal((await gw.line()).outcome, 'truncated')
})

test('early hints: 103 with its links is relayed before the answer, 102 too', async t => {
  const links = [
    ['Link', '</a.css>; rel=preload; as=style'],
    ['Link', '</b.js>; rel=preload; as=script'],
  ] as const
  const interim = [{ status: 102 }, { status: 103, headers: links }]
  const upstream = await startUpstream(answer({ interim, body: 'done' }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gw.port)
  assert.deepEqual([response.status, response.body.toString()], [200, 'done'])
  assert.deepEqual(
    response.interim.map(({ status }) => status),
    [102, 103],
  )
  const hints = response.interim[1]?.headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`).join(', ')
  assert.match(hints ?? '', /<\/a\.css>.*<\/b\.js>/)
})

test('requests one after the other on one connection: one connection to the upstream, reused', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port)
  for (let n = 0; n < 5; n++) {
    const body = n % 2 === 1 ? { method: 'POST', body: 'a body' } : {}
    assert.equal((await client.request({ path: `/${n}`, ...body }).response).status, 200)
  }
  client.leave('fin')
  assert.equal(upstream.counters.connections, 1)
  assert.deepEqual(
    gw.lines.map(line => line['reused']),
    [false, true, true, true, true],
  )
  assert.equal(await gw.metric('hopgate_connection_reuse_total', { reused: 'true' }), 4)
  assert.equal(await gw.metric('hopgate_client_connections_total', { result: 'accepted' }), 1)
})

test('pipelined requests: answered in their order, though the first takes longest', async t => {
  const upstream = await startUpstream(({ path }) => answer({ body: path, delayHeadersMs: path === '/0' ? 200 : 0 }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port)
  const pending = ['/0', '/1', '/2', '/3'].map(path => client.request({ path }).response)
  const bodies = (await Promise.all(pending)).map(({ body }) => body.toString())
  assert.deepEqual(bodies, ['/0', '/1', '/2', '/3'])
  client.leave('fin')
  for (let n = 0; n < 4; n++) assert.equal((await gw.line()).outcome, 'completed')
})

for (const how of ['fin', 'rst'] as const) {
  test(`a client that leaves by ${how} with a second request pipelined: the first is client_abort, the second never begins`, async t => {
    const upstream = await startUpstream({ on: 'headers', then: 'hang' })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    client.request({ path: '/0' })
    client.request({ path: '/1' })
    const { connection } = await upstream.nextRequest()
    const left = performance.now()
    client.leave(how)
    const end = await connection.closed
    assert.equal(end.how, 'rst')
    assert.ok(end.at - left < 250)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.path], ['client_abort', '/0'])
    await reads(gw, 0, 'hopgate_client_connections')
    assert.deepEqual([gw.lines.length, upstream.counters.requests], [1, 1])
  })
}
