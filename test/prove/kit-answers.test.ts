// biome-ignore-all lint/suspicious/noThenProperty: a fault is `{ on, then }`; its `then` is a word, so nothing takes it for a promise
/** The faulty upstream without a fault: every byte of an answer is the one that was asked for. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { get } from 'node:http'
import { after, before, test } from 'node:test'
import { type Answer, answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient, requestOnce } from '../../src/prove/raw-client.ts'
import { patternBytes } from '../../src/prove/wire.ts'

const ANSWERS: Readonly<Record<string, Answer>> = {
  '/plain': {},
  '/raw': {
    headers: [
      ['x-LoWeR', '1'],
      ['Set-Cookie', 'a=1'],
      ['X-Between', ''],
      ['set-cookie', 'b=2'],
    ],
  },
  '/length': { body: 300_001 },
  '/chunked': { body: 300_001, framing: 'chunked', chunkBytes: 1000, trailers: [['X-Sum', 'abc']] },
  '/close': { body: 300_001, framing: 'close' },
  '/last': { keepAlive: false },
  '/204': { status: 204, contentLength: 5 },
  '/304': { status: 304, contentLength: 5 },
  '/hints': {
    interim: [
      { status: 103, headers: [['Link', '</a.css>']] },
      { status: 103, headers: [] },
    ],
  },
  '/delayed': { delayHeadersMs: 30, delayBodyMs: 40, body: 'late' },
}

let upstream: Upstream
let client: RawClient
before(async () => {
  upstream = await startUpstream(request => answer(ANSWERS[request.path] ?? { status: 404 }))
  client = await openClient(upstream.port)
})
after(() => upstream.close())

test('a plain answer to node:http: nothing is in it that was not asked for', async () => {
  const response = await new Promise<{ rawHeaders: string[]; body: string }>((resolve, reject) => {
    get(`${upstream.url}/plain`, { agent: false }, message => {
      let body = ''
      message.on('data', chunk => {
        body += chunk
      })
      message.on('end', () => resolve({ rawHeaders: message.rawHeaders, body }))
    }).on('error', reject)
  })
  assert.deepEqual(response, { rawHeaders: ['Content-Length', '3'], body: 'ok\n' })
})

test('raw headers: order, case, duplicates and empty values arrive as given', async () => {
  const { headers } = await client.request({ path: '/raw' }).response
  assert.deepEqual(headers, [
    ['x-LoWeR', '1'],
    ['Set-Cookie', 'a=1'],
    ['X-Between', ''],
    ['set-cookie', 'b=2'],
    ['Content-Length', '3'],
  ])
})

for (const path of ['/length', '/chunked', '/close']) {
  test(`a body of 300001 bytes framed as ${path.slice(1)}: whole, and each byte in its place`, async () => {
    const response = await requestOnce(upstream.port, { path })
    assert.equal(response.complete, true)
    assert.ok(response.body.equals(patternBytes(300_001)))
    assert.deepEqual(response.trailers, path === '/chunked' ? [['X-Sum', 'abc']] : [])
    assert.equal(response.ended, path === '/close' ? 'fin' : 'open')
  })
}

test('keepAlive false: the answer says so and FIN follows it', async () => {
  const leaver = await openClient(upstream.port)
  const response = await leaver.request({ path: '/last' }).response
  assert.equal(response.header('connection'), 'close')
  assert.equal(response.complete, true)
  assert.equal((await leaver.closed).how, 'fin')
})

for (const [method, path] of [
  ['GET', '/204'],
  ['GET', '/304'],
  ['HEAD', '/length'],
] as const) {
  test(`${method} ${path}: a Content-Length without a body, and the connection goes on`, async () => {
    const response = await client.request({ method, path }).response
    assert.ok(Number(response.header('content-length')) > 0)
    assert.equal(response.body.length, 0)
    assert.equal((await client.request({ path: '/plain' }).response).status, 200)
  })
}

test('103 before the answer: both come apart from it', async () => {
  const response = await client.request({ path: '/hints' }).response
  assert.deepEqual(
    response.interim.map(({ status, headers }) => [status, headers]),
    [
      [103, [['Link', '</a.css>']]],
      [103, []],
    ],
  )
  assert.equal(response.status, 200)
})

test('delays: the head waits, then the body waits', async () => {
  const response = await client.request({ path: '/delayed' }).response
  const headersAt = response.headersAt ?? 0
  assert.ok(headersAt - response.sentAt >= 29, `head after ${headersAt - response.sentAt} ms`)
  assert.ok(response.doneAt - headersAt >= 38, `body ${response.doneAt - headersAt} ms later`)
})

test('an upload by Content-Length and by chunks with trailers: recorded byte for byte, on one connection', async () => {
  const { connections, port } = upstream
  const uploader = await openClient(port)
  const body = patternBytes(150_000)
  const sha256 = createHash('sha256').update(body).digest('hex')
  for (const chunked of [false, true]) {
    const trailers = chunked ? ([['X-End', '1']] as const) : []
    const response = uploader.request({ method: 'PUT', path: '/plain?q=1', body: 150_000, chunked, trailers })
    assert.equal((await response.response).status, 200)
    const request = upstream.requests.at(-1)
    assert.ok(request)
    assert.deepEqual([request.method, request.target, request.path], ['PUT', '/plain?q=1', '/plain'])
    const uploaded = await request.uploaded
    assert.deepEqual([uploaded.bytes, uploaded.sha256, uploaded.trailers], [150_000, sha256, trailers])
    assert.equal(request.indexOnConnection, chunked ? 1 : 0)
    assert.equal(request.connection, connections.at(-1))
  }
})

test('pipelined requests: answered in order', async () => {
  const pipeliner = await openClient(upstream.port)
  const paths = ['/delayed', '/204', '/chunked', '/plain']
  const responses = await Promise.all(paths.map(path => pipeliner.request({ path }).response))
  assert.deepEqual(
    responses.map(({ status, body }) => [status, body.length]),
    [
      [200, 4],
      [204, 0],
      [200, 300_001],
      [200, 3],
    ],
  )
})

test('an answer by hand: the request hangs until the test says so', async t => {
  const hanging = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => hanging.close())
  const caller = await openClient(hanging.port)
  for (const status of [500, 201]) {
    const pending = caller.request()
    const request = await hanging.nextRequest()
    assert.equal(hanging.counters.answered, status === 500 ? 0 : 1)
    await request.answer({ status })
    assert.equal((await pending.response).status, status)
  }
})

test('counters and sockets: all closed means none open', async t => {
  const counted = await startUpstream(answer())
  t.after(() => counted.close())
  for (const how of ['fin', 'rst', 'fin'] as const) {
    const caller = await openClient(counted.port)
    await caller.request().response
    assert.equal(counted.openSockets, 1)
    caller.leave(how)
    await counted.allClosed()
  }
  assert.deepEqual(counted.counters, {
    connections: 3,
    requests: 3,
    answered: 3,
    fin: 2,
    rst: 1,
    us: 0,
    malformed: 0,
  })
})

test('an await of what never comes: a message that says what was missing, not a hang', async t => {
  const silent = await startUpstream({ on: 'accept', then: 'hang' })
  t.after(() => silent.close())
  const caller = await openClient(silent.port, { timeoutMs: 30 })
  await assert.rejects(caller.request().response, /no end of the response within 30 ms \(came: nothing\)/)
  await assert.rejects(
    silent.nextRequest(20),
    /no request at port \d+ within 20 ms \(1 connections, 0 requests, 1 open\)/,
  )
})
