/** What upstreams may say that is no HTTP: 502 `protocol_error`, or a cut once the head is out; never a second request on it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { simple, startTestGateway } from '../support/gateway.ts'
import { converse, statusesOf } from './wire.ts'

const OK = 'HTTP/1.1 200 OK\r\n'
const FIVE = 'Content-Length: 5\r\n'
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`
const LAST = '0\r\n\r\n'

/** Before a head: 502. The classes and their sources are those of the corpus of requests. */
const REFUSED: Readonly<Record<string, string>> = {
  'two lengths that agree': `${OK}${FIVE}${FIVE}\r\nhello`,
  'two lengths that differ': `${OK}${FIVE}Content-Length: 6\r\n\r\nhello`,
  'a list of lengths': `${OK}Content-Length: 5, 5\r\n\r\nhello`,
  'a length with a plus': `${OK}Content-Length: +5\r\n\r\nhello`,
  'a length below zero': `${OK}Content-Length: -5\r\n\r\nhello`,
  'a padded length': `${OK}Content-Length: 05\r\n\r\nhello`,
  'a hexadecimal length': `${OK}Content-Length: 0x5\r\n\r\nhello`,
  'an empty length': `${OK}Content-Length:\r\n\r\nhello`,
  'a length above 2^64': `${OK}Content-Length: 18446744073709551621\r\n\r\nhello`,
  'a length before chunked': `${OK}${FIVE}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n${LAST}`,
  'a length behind chunked': `${OK}Transfer-Encoding: chunked\r\n${FIVE}\r\n5\r\nhello\r\n${LAST}`,
  'chunked twice': `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n${LAST}`,
  'an unknown coding': `${OK}Transfer-Encoding: foo\r\n\r\n5\r\nhello\r\n${LAST}`,
  'gzip, then chunked': `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n${LAST}`,
  'chunked, then gzip': `${OK}Transfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n${LAST}`,
  'an empty coding': `${OK}Transfer-Encoding:\r\n\r\nhello`,
  'a coding and white space': `${OK}Transfer-Encoding: chunked\t\r\n\r\n5\r\nhello\r\n${LAST}`,
  'a coding behind a vertical tab': `${OK}Transfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n${LAST}`,
  'a space before the colon of a coding': `${OK}Transfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n${LAST}`,
  'almost Transfer-Encoding': `${OK}Transfer_Encoding: chunked\r\n${FIVE}\r\nhello`,
  'almost Content-Length': `${OK}Content_Length: 5\r\n${FIVE}\r\nhello`,
  'LF behind the status line': `HTTP/1.1 200 OK\n${FIVE}\r\nhello`,
  'LF behind a field': `${OK}X: y\n${FIVE}\r\nhello`,
  'LF for the empty line': `${OK}${FIVE}\nhello`,
  'CR behind a field': `${OK}X: y\r${FIVE}\r\nhello`,
  'CR in a value': `${OK}X: y\rz\r\n${FIVE}\r\nhello`,
  'a folded field': `${OK}${FIVE}X: y\r\n z\r\n\r\nhello`,
  'a fold before the first field': `${OK} ${FIVE}\r\nhello`,
  'a space before a colon': `${OK}Content-Length : 5\r\n\r\nhello`,
  'an empty name': `${OK}: y\r\n${FIVE}\r\nhello`,
  'a name of no token': `${OK}X(y): z\r\n${FIVE}\r\nhello`,
  'no colon': `${OK}hello\r\n${FIVE}\r\nhello`,
  'a NUL in a value': `${OK}X: \0\r\n${FIVE}\r\nhello`,
  'a control byte in a value': `${OK}X: \x01\r\n${FIVE}\r\nhello`,
  'no HTTP': 'hello\r\n\r\n',
  'HTTP/0.9': 'hello',
  'version 0.9': `HTTP/0.9 200 OK\r\n${FIVE}\r\nhello`,
  'version 1.2': `HTTP/1.2 200 OK\r\n${FIVE}\r\nhello`,
  'version 2.0': `HTTP/2.0 200 OK\r\n${FIVE}\r\nhello`,
  RTSP: `RTSP/1.0 200 OK\r\n${FIVE}\r\nhello`,
  ICE: `ICE/1.0 200 OK\r\n${FIVE}\r\nhello`,
  'a version in small letters': `http/1.1 200 OK\r\n${FIVE}\r\nhello`,
  'Transfer-Encoding in HTTP/1.0': `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n${LAST}`,
  'a status of two digits': `HTTP/1.1 99 OK\r\n${FIVE}\r\nhello`,
  'a status of four digits': `HTTP/1.1 2000 OK\r\n${FIVE}\r\nhello`,
  'status 000': `HTTP/1.1 000 OK\r\n${FIVE}\r\nhello`,
  'status 099': `HTTP/1.1 099 OK\r\n${FIVE}\r\nhello`,
  'status 600': `HTTP/1.1 600 x\r\n${FIVE}\r\nhello`,
  'status 999': `HTTP/1.1 999 x\r\n${FIVE}\r\nhello`,
  'a status of letters': `HTTP/1.1 2xx OK\r\n${FIVE}\r\nhello`,
  'no space behind the status': `HTTP/1.1 200OK\r\n${FIVE}\r\nhello`,
  'two spaces before the status': `HTTP/1.1  200 OK\r\n${FIVE}\r\nhello`,
  'a CR in the reason': `HTTP/1.1 200 O\rK\r\n${FIVE}\r\nhello`,
  'a 101 nobody asked for': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
  'a 101 without a word of Upgrade': `HTTP/1.1 101 x\r\n\r\n${OK}${FIVE}\r\nhello`,
  'a 103 with a length': `HTTP/1.1 103 Early Hints\r\n${FIVE}\r\n${OK}${FIVE}\r\nhello`,
  'a 103 that is chunked': `HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n${OK}${FIVE}\r\nhello`,
  'a head of 100 KB': `${OK}X: ${'a'.repeat(100_000)}\r\n${FIVE}\r\nhello`,
  '10000 fields': `${OK}${'X: y\r\n'.repeat(15_000)}${FIVE}\r\nhello`,
}

/** Behind a head: the answer is cut, and the client can see it. */
const CUT: Readonly<Record<string, string>> = {
  'a chunk size with a plus': `${CHUNKED}+5\r\nhello\r\n${LAST}`,
  'a chunk size below zero': `${CHUNKED}-5\r\nhello\r\n${LAST}`,
  'a chunk size with 0x': `${CHUNKED}0x5\r\nhello\r\n${LAST}`,
  'a chunk size above 2^64': `${CHUNKED}10000000000000005\r\nhello\r\n${LAST}`,
  'no chunk size': `${CHUNKED}\r\nhello\r\n${LAST}`,
  'a space behind a chunk size': `${CHUNKED}5 \r\nhello\r\n${LAST}`,
  'LF behind a chunk size': `${CHUNKED}5\nhello\r\n${LAST}`,
  'LF behind a chunk': `${CHUNKED}5\r\nhello\n${LAST}`,
  'LF for the last CRLF': `${CHUNKED}5\r\nhello\r\n0\r\n\n`,
  'a chunk longer than said': `${CHUNKED}3\r\nhello\r\n${LAST}`,
  'LF in a chunk extension': `${CHUNKED}5;a\nhello\r\n${LAST}`,
  'mostly chunk extensions': `${CHUNKED}${`1;${'a'.repeat(15_000)}\r\nx\r\n`.repeat(100)}${LAST}`,
  'Content-Length as a trailer': `${CHUNKED}5\r\nhello\r\n0\r\n${FIVE}\r\n`,
  'Transfer-Encoding as a trailer': `${CHUNKED}5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n`,
  'Set-Cookie as a trailer': `${CHUNKED}5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\n\r\n`,
  'Host as a trailer': `${CHUNKED}5\r\nhello\r\n0\r\nHost: b\r\n\r\n`,
  'a folded trailer': `${CHUNKED}5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n`,
  'trailers of 100 KB': `${CHUNKED}5\r\nhello\r\n0\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`,
}

/** The answer is well and is passed on; what is around it is nobody's. */
const SERVED: Readonly<Record<string, string>> = {
  // RFC 9110 section 15.2.1 has it discarded.
  'a 100 nobody asked for': `HTTP/1.1 100 Continue\r\n\r\n${OK}Connection: close\r\n${FIVE}\r\nhello`,
  'bytes behind a length': `${OK}${FIVE}\r\nhelloXXXX`,
  'a second answer behind the first': `${OK}${FIVE}\r\nhello${OK}${FIVE}\r\nworld`,
  'bytes behind the last chunk': `${CHUNKED}5\r\nhello\r\n${LAST}XXXX`,
}

const GET = Buffer.from('GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')

test('an upstream that speaks no HTTP is not believed, and its connection not used again', async t => {
  let bytes = ''
  let requests = 0
  const server = createServer(socket => {
    let served = false
    socket.on('error', () => {})
    socket.on('data', () => {
      requests++
      assert.ok(!served, 'a second request on a connection that was poisoned')
      served = true
      socket.write(Buffer.from(bytes, 'latin1'))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const gateway = await startTestGateway(
    t,
    simple(`http://127.0.0.1:${port}`, 'timeouts: { response_headers: 1s, body_idle: 1s }'),
  )

  const each = async (what: string, answer: string, check: (text: string) => void): Promise<void> => {
    await t.test(what, async () => {
      const before = { lines: gateway.lines.length, requests }
      bytes = answer
      const { text } = await converse(gateway.port, GET)
      check(text)
      assert.equal(gateway.lines.length, before.lines + 1)
      assert.equal(requests, before.requests + 1, 'asked again')
      const { outcome } = gateway.lines[before.lines] ?? {}
      assert.equal(outcome, what in SERVED ? 'completed' : 'protocol_error')
    })
  }
  for (const [what, answer] of Object.entries(REFUSED)) {
    await each(what, answer, text => {
      assert.deepEqual(statusesOf(text), [502])
      assert.match(text, /"outcome":"protocol_error"/)
    })
  }
  for (const [what, answer] of Object.entries(CUT)) {
    await each(what, answer, text => {
      if (text === '') return
      // All in one piece, it may be known to be bad before the head was sent.
      const status = statusesOf(text)[0]
      if (status !== 502) assert.ok(!text.endsWith(LAST), 'a clean end')
    })
  }
  for (const [what, answer] of Object.entries(SERVED)) {
    await each(what, answer, text => {
      assert.deepEqual(statusesOf(text), [200])
      assert.match(text, /hello/)
      assert.doesNotMatch(text, /XXXX|world/)
    })
  }
})
