import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { test } from 'node:test'
import { changed, dialReading, pause, serve, until } from './support.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n'

/** What our own validation must refuse, or make harmless, because Node does not. */
const LET_THROUGH: readonly (readonly [string, string, (req: IncomingMessage) => unknown, unknown])[] = [
  ['two Host fields', `${GET}Host: b\r\n\r\n`, req => [req.headers.host, req.rawHeaders.length], ['a', 4]],
  ['a space in Host', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', req => req.headers.host, 'a b'],
  ['a slash in Host', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', req => req.headers.host, 'a/b'],
  ['userinfo in Host', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', req => req.headers.host, 'a@b'],
  ['an unclosed bracket in Host', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n', req => req.headers.host, '[::1'],
  ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', req => req.headers.host, ''],
  ['a request line of HTTP/0.9', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', req => req.httpVersion, '0.9'],
  ['a request line without a version', 'GET /\r\n\r\n', req => req.httpVersion, '0.9'],
  ['a request line of HTTP/2.0', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', req => req.httpVersion, '2.0'],
  ['GET *', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', req => req.url, '*'],
  ['# in the target', 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n', req => req.url, '/a#b'],
  ['an absolute target', 'GET http://other/x HTTP/1.1\r\nHost: a\r\n\r\n', req => req.url, 'http://other/x'],
  [
    'Transfer_Encoding, a look-alike',
    `${GET}Transfer_Encoding: chunked\r\n\r\n`,
    req => req.rawHeaders.slice(2),
    ['Transfer_Encoding', 'chunked'],
  ],
  [
    'Content_Length, a look-alike',
    `${GET}Content_Length: 5\r\n\r\n`,
    req => req.rawHeaders.slice(2),
    ['Content_Length', '5'],
  ],
  [
    'Transfer-Encoding: gzip, chunked',
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    req => req.headers['transfer-encoding'],
    'gzip, chunked',
  ],
  [
    'Transfer-Encoding in HTTP/1.0',
    'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    req => [req.httpVersion, req.headers['transfer-encoding']],
    ['1.0', 'chunked'],
  ],
]

for (const [what, request, look, expected] of LET_THROUGH) {
  test(`fact 31: Node's parser lets through ${what}`, async t => {
    let seen: unknown = 'refused'
    const port = await serve(
      t,
      createServer((req, res) => {
        seen = look(req)
        res.end()
      }),
    )
    const client = await dialReading(t, port)
    client.socket.write(request)
    await until('an answer', () => client.text !== '' || client.closed)
    assert.deepEqual(
      seen,
      expected,
      changed('31', `${what} reaches the handler`, 'Our own check of it may be dead code: look before removing it.'),
    )
  })
}

test('fact 31: a request with a Transfer-Encoding that is not chunked at the end is handed over and refused after that', async t => {
  const seen: string[] = []
  const server = createServer((req, res) => {
    seen.push(`request ${req.headers['transfer-encoding']}`)
    res.on('error', () => {})
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    seen.push(error.code ?? '')
    socket.destroy()
  })
  const client = await dialReading(t, await serve(t, server))
  client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n0\r\n\r\n')
  await until('close', () => client.closed)
  assert.deepEqual(
    seen,
    ['request foo', 'HPE_INVALID_TRANSFER_ENCODING'],
    changed('31', 'the handler sees the request first', 'clientMalformed may never be called with an exchange on.'),
  )
})

test('fact 31: header fields above the limit of Node are dropped without a word (Node 20) or refused', async t => {
  let seen: { fields: number; last: unknown } | undefined
  let refused: string | undefined
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (req, res) => {
    seen = { fields: req.rawHeaders.length / 2, last: req.headers['x-last'] }
    res.end()
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    refused = error.code
    socket.destroy()
  })
  const client = await dialReading(t, await serve(t, server))
  client.socket.write(`${GET}${'a: b\r\n'.repeat(3000)}x-last: seen\r\n\r\n`)
  await until('an answer', () => client.text !== '' || client.closed)
  const why = changed(
    '31',
    'they are dropped silently or refused',
    'A limit of our own on their number may be needless.',
  )
  if (refused === undefined) assert.ok(seen !== undefined && seen.fields < 3000 && seen.last === undefined, why)
  else assert.equal(refused, 'HPE_HEADER_OVERFLOW', why)
})

test('fact 31: with maxHeadersCount 0 no header field is dropped', async t => {
  let fields = 0
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (req, res) => {
    fields = req.rawHeaders.length / 2
    res.end()
  })
  server.maxHeadersCount = 0
  const client = await dialReading(t, await serve(t, server))
  client.socket.write(`${GET}${'a: b\r\n'.repeat(3000)}\r\n`)
  await until('an answer', () => client.text !== '' || client.closed)
  assert.equal(
    fields,
    3001,
    changed('31', '0 is no limit', 'Fields are lost silently: see createDoor in server/server.ts.'),
  )
})

for (const [event, expectation] of [
  ['checkContinue', '100-continue'],
  ['checkExpectation', 'something-else'],
] as const) {
  test(`fact 16: with a listener of ${event} Node answers "Expect: ${expectation}" by nothing of its own`, async t => {
    const server = createServer((_req, res) => res.end('request'))
    let invite = (): void => {}
    server.on(event, (req: IncomingMessage, res: ServerResponse) => {
      invite = () => {
        res.writeContinue()
        req.resume()
        req.on('end', () => res.end(event))
      }
    })
    const client = await dialReading(t, await serve(t, server))
    client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\nExpect: ${expectation}\r\nContent-Length: 2\r\n\r\n`)
    await pause(30)
    assert.equal(client.text, '', changed('16', 'it is ours to answer', 'See ClientSide.inviteBody.'))
    invite()
    await until('the invitation', () => client.text === 'HTTP/1.1 100 Continue\r\n\r\n')
    client.socket.write('ok')
    await until('the answer', () => client.text.endsWith(event))
  })
}
