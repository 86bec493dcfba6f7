/** The bytes between the gateway and an upstream, as the upstream sees them, and which connection they come on. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { framingOf, type MessageHead, MessageParser } from '../../src/prove/message-parser.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { answering, startRawUpstream } from './raw-upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const LONG = 'timeouts: { request: 60s, request_write: 30s, response_headers: 50s, body_idle: 30s }'
const ONE_SLOT = 'pool: { max_connections: 1, keepalive: 60s }'

// ---- which connection ----

test('HEAD: the connection is kept, whatever the framing of the body that does not come', async t => {
  const heads = ['Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', '', 'Content-Length: 0\r\n']
  let n = 0
  const upstream = await startRawUpstream(
    t,
    answering(() => `HTTP/1.1 200 OK\r\n${heads[n++]}\r\n`),
  )
  const gw = await startTestGateway(t, simple(upstream.url, '', ONE_SLOT))
  for (let i = 0; i < heads.length; i++) assert.equal((await requestOnce(gw.port, { method: 'HEAD' })).status, 200)
  assert.deepEqual([upstream.peers.length, upstream.peers[0]?.heads], [1, heads.length])
})

const lasting: readonly { what: string; kept: boolean; response: string }[] = [
  { what: 'HTTP/1.1', kept: true, response: OK },
  { what: 'HTTP/1.1, 204', kept: true, response: 'HTTP/1.1 204 No Content\r\n\r\n' },
  { what: 'HTTP/1.1, chunked', kept: true, response: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n' },
  { what: 'HTTP/1.1 with Connection: close', kept: false, response: OK.replace('OK\r\n', 'OK\r\nConnection: close\r\n') },
  { what: 'HTTP/1.1 with Connection: foo, Close', kept: false, response: OK.replace('OK\r\n', 'OK\r\nconnection: foo, Close\r\n') },
  { what: 'HTTP/1.0', kept: false, response: OK.replace('1.1', '1.0') },
  { what: 'HTTP/1.0 with Connection: keep-alive', kept: true, response: OK.replace('1.1 200 OK\r\n', '1.0 200 OK\r\nConnection: Keep-Alive\r\n') },
  { what: 'Keep-Alive: timeout=1, of which nothing is left', kept: false, response: OK.replace('OK\r\n', 'OK\r\nKeep-Alive: timeout=1\r\n') },
  { what: 'Keep-Alive: timeout=60', kept: true, response: OK.replace('OK\r\n', 'OK\r\nKeep-Alive: timeout=60, max=100\r\n') },
  { what: 'bytes behind a length', kept: false, response: `${OK}x` },
  { what: 'a second response behind the first', kept: false, response: OK + OK },
  { what: 'a body to a HEAD', kept: false, response: OK },
] // biome-ignore format: a table
for (const { what, kept, response } of lasting) {
  test(`${what}: the connection is ${kept ? 'kept' : 'closed at once, and the next request has its own'}`, async t => {
    const upstream = await startRawUpstream(t, answering(response))
    const gw = await startTestGateway(t, simple(upstream.url, '', ONE_SLOT))
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    const method = what.endsWith('HEAD') ? 'HEAD' : 'POST'
    for (let n = 0; n < 3; n++) {
      const { status, body, ended } = await client.request({ method }).response
      const expected = [method === 'HEAD' || response.includes(' 204 ') ? '' : 'ok', 'open']
      assert.deepEqual([Math.floor(status / 100), body.toString(), ended], [2, ...expected])
      if (!kept) await (await upstream.peer(n)).until('the close', peer => peer.closed)
    }
    assert.deepEqual(
      upstream.peers.map(({ heads }) => heads),
      kept ? [3] : [1, 1, 1],
    )
  })
}

test("what an upstream says unasked closes its idle connection, and is nobody's answer", async t => {
  const upstream = await startRawUpstream(
    t,
    answering(n => OK.replace('ok', `${n}!`)),
  )
  const gw = await startTestGateway(t, simple(upstream.url, '', ONE_SLOT))
  for (let n = 0; n < 3; n++) {
    const { body } = await requestOnce(gw.port, { method: 'POST' })
    assert.equal(body.toString(), `${n}!`)
    const peer = await upstream.peer(n)
    peer.socket.write(OK)
    await peer.until('the close', ({ closed }) => closed)
  }
})

// ---- what is sent ----

const FIELDS = [
  'X-Request-Id: ID',
  'X-Forwarded-For: 127.0.0.1',
  'X-Forwarded-Proto: http',
  'X-Forwarded-Host: a.example',
  'X-Forwarded-Port: GATEWAY',
  'X-Real-IP: 127.0.0.1',
  'Via: 1.1 SELF',
  '',
  '',
].join('\r\n')

const sent: readonly { what: string; client: string; upstream: string }[] = [
  {
    what: 'GET',
    client:
      'GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nx-MiXed:  y \r\nX-Latin: \xfc\r\nConnection: keep-alive\r\n\r\n',
    upstream: `GET /a?b=c HTTP/1.1\r\nHost: UPSTREAM\r\nAccept: */*\r\nx-MiXed: y\r\nX-Latin: \xfc\r\n${FIELDS}`,
  },
  {
    what: 'GET with Content-Length: 0',
    client: 'GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n',
    upstream: `GET / HTTP/1.1\r\nHost: UPSTREAM\r\nContent-Length: 0\r\n${FIELDS}`,
  },
  {
    what: 'POST with a length',
    client: 'POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nZ: z\r\n\r\nhello',
    upstream: `POST /p HTTP/1.1\r\nHost: UPSTREAM\r\nContent-Type: text/plain\r\nZ: z\r\nContent-Length: 5\r\n${FIELDS}hello`,
  },
  {
    what: 'POST in one chunk',
    client:
      'POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n00C;ext=1\r\nhello\r\nworld\r\n0\r\n\r\n',
    upstream: `POST / HTTP/1.1\r\nHost: UPSTREAM\r\n${FIELDS.slice(0, -2)}Transfer-Encoding: chunked\r\n\r\nc\r\nhello\r\nworld\r\n0\r\n\r\n`,
  },
  {
    what: 'POST in no chunk, with trailer fields, which are not forwarded',
    client: 'POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n',
    upstream: `POST / HTTP/1.1\r\nHost: UPSTREAM\r\n${FIELDS.slice(0, -2)}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  // RFC 9110 section 8.6: where content means something, none is said to be none.
  ...['POST', 'PUT', 'PATCH'].map(method => ({
    what: `${method} without a body`,
    client: `${method} / HTTP/1.1\r\nHost: a.example\r\n\r\n`,
    upstream: `${method} / HTTP/1.1\r\nHost: UPSTREAM\r\nContent-Length: 0\r\n${FIELDS}`,
  })),
  ...['DELETE', 'OPTIONS', 'HEAD'].map(method => ({
    what: `${method} without a body`,
    client: `${method} / HTTP/1.1\r\nHost: a.example\r\n\r\n`,
    upstream: `${method} / HTTP/1.1\r\nHost: UPSTREAM\r\n${FIELDS}`,
  })),
]

for (const { what, client: request, upstream: expected } of sent) {
  test(`${what}: what the upstream gets, byte for byte, on a fresh connection and on a reused one`, async t => {
    const upstream = await startRawUpstream(t, () => {})
    const gw = await startTestGateway(t, simple(upstream.url, '', ONE_SLOT))
    for (let n = 0; n < 2; n++) {
      const client = await openClient(gw.port)
      const answer = client.expect(what.split(' ')[0])
      await client.send(Buffer.from(request, 'latin1'))
      const peer = await upstream.peer(0)
      const plain = (): string =>
        peer.text
          .replace(`Host: 127.0.0.1:${upstream.port}`, 'Host: UPSTREAM')
          .replace(`Port: ${gw.port}`, 'Port: GATEWAY')
          .replace(/(?<=X-Request-Id: )[0-9a-f]+-[0-9a-z]+/, 'ID')
          .replace(/(?<=Via: 1\.1 )hopgate[\w-]*/, 'SELF')
      await peer.until(`all of ${JSON.stringify(expected)}`, () => plain().length >= expected.length)
      assert.equal(plain(), expected)
      peer.text = ''
      peer.socket.write(what.startsWith('HEAD') ? OK.slice(0, -2) : OK)
      assert.equal((await answer.response).status, 200)
      assert.equal(peer.text, '', 'bytes behind the request')
      client.leave('rst')
    }
    assert.equal(upstream.peers.length, 1)
  })
}

for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
  test(`the head of a slow upload (${framing}) is with the upstream before its body, and each piece before the next`, async t => {
    const upstream = await startRawUpstream(t, () => {})
    const gw = await startTestGateway(t, simple(upstream.url, LONG))
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    const answer = client.expect('POST')
    const chunked = framing.endsWith('chunked')
    await client.send(`POST / HTTP/1.1\r\nHost: a.example\r\n${framing}\r\n\r\n`)
    const peer = await upstream.peer(0)
    await peer.until('the head', ({ heads }) => heads === 1)
    assert.ok(peer.text.endsWith('\r\n\r\n'))
    for (const part of ['hello', 'world']) {
      await client.send(chunked ? `5\r\n${part}\r\n` : part)
      await peer.until(part, ({ text }) => text.endsWith(chunked ? `\r\n5\r\n${part}\r\n` : part))
    }
    if (chunked) await client.send('0\r\n\r\n')
    if (chunked) await peer.until('the last chunk', ({ text }) => text.endsWith('\r\n0\r\n\r\n'))
    peer.socket.write(OK)
    assert.equal((await answer.response).status, 200)
  })
}

// ---- much of it ----

const BYTES = 48 << 20
const PIECE = 96 * 1024 + 7

/** As many bytes as there are, in pieces that are all different, each handed to `send` when it is wanted. */
class Source {
  readonly hash = createHash('sha256')
  #sent = 0

  next(): Buffer | undefined {
    if (this.#sent === BYTES) return undefined
    const piece = Buffer.alloc(Math.min(PIECE, BYTES - this.#sent), `${this.#sent} `)
    this.#sent += piece.length
    this.hash.update(piece)
    return piece
  }
}

/** Writes all of a source into a socket, each piece as `framed`, and the `end`. */
function pour(source: Source, socket: Socket, framed: (piece: Buffer) => Buffer, end: string): void {
  const more = (): void => {
    for (;;) {
      const piece = source.next()
      if (piece === undefined) {
        socket.write(end)
        return
      }
      if (!socket.write(framed(piece))) {
        socket.once('drain', more)
        return
      }
    }
  }
  more()
}

/** Waits until a socket's peer takes nothing more. */
async function stalled(socket: Socket): Promise<void> {
  let taken = -1
  let since = performance.now()
  while (performance.now() - since < 250) {
    const now = socket.bytesWritten - socket.writableLength
    if (now !== taken) {
      taken = now
      since = performance.now()
    }
    await delay(20)
  }
  assert.ok(taken > 0 && socket.writableLength > 0, 'all of it was taken, though nobody reads at the other end')
  assert.ok(taken < BYTES, `${taken} bytes were taken`)
}

const inChunk = (piece: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
const asItIs = (piece: Buffer): Buffer => piece

/** Resolves with the hash of the body of the message that comes on `socket`. */
function hashOf(socket: Socket, framing: (head: MessageHead) => ReturnType<typeof framingOf>): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    const parser = new MessageParser({
      head: framing,
      body: bytes => hash.update(bytes),
      end: () => resolve(hash.digest('hex')),
    })
    socket.on('data', bytes => {
      try {
        parser.push(bytes)
      } catch (error) {
        reject(error as Error)
      }
    })
    socket.on('close', () => reject(new Error('closed in the midst of it')))
  })
}

const MUCH = `${LONG}, limits: { body: 64MiB }`

for (const chunked of [false, true]) {
  const how = chunked ? 'chunked' : 'with a length'
  const field = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${BYTES}`
  const framed = chunked ? inChunk : asItIs
  const end = chunked ? '0\r\n\r\n' : ''

  test(`a large upload, ${how}: it waits for an upstream that does not read, and arrives whole`, async t => {
    const upstream = await startRawUpstream(t, ({ socket }) => socket.pause(), false)
    const gw = await startTestGateway(t, simple(upstream.url, MUCH))
    const client = connect(gw.port, '127.0.0.1')
    t.after(() => client.destroy())
    const source = new Source()
    client.write(`POST / HTTP/1.1\r\nHost: a.example\r\n${field}\r\n\r\n`)
    pour(source, client, framed, end)
    const { socket } = await upstream.peer(0)
    await stalled(client)
    const arrived = hashOf(socket, ({ headers }) => framingOf(headers, 'none'))
    socket.resume()
    const got = await arrived
    assert.equal(got, source.hash.digest('hex'))
    const answer = hashOf(client, ({ headers }) => framingOf(headers, 'none'))
    socket.write(OK)
    await answer
    assert.equal((await gw.line()).outcome, 'completed')
  })

  test(`a large response, ${how}: it waits for a client that does not read, and arrives whole`, async t => {
    const source = new Source()
    const upstream = await startRawUpstream(
      t,
      ({ socket }) =>
        socket.once('data', () => {
          socket.write(`HTTP/1.1 200 OK\r\n${field}\r\n\r\n`)
          pour(source, socket, framed, end)
        }),
      false,
    )
    const gw = await startTestGateway(t, { ...simple(upstream.url, LONG), listen: '  timeouts: { write_idle: 30s }' })
    const client = connect(gw.port, '127.0.0.1')
    t.after(() => client.destroy())
    client.pause()
    client.write('GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
    const { socket } = await upstream.peer(0)
    await stalled(socket)
    const arrived = hashOf(client, ({ headers }) => framingOf(headers, 'none'))
    client.resume()
    const got = await arrived
    assert.equal(got, source.hash.digest('hex'))
    assert.equal((await gw.line()).outcome, 'completed')
  })
}
