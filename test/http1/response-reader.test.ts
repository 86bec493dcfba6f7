/** The reader of responses, from bytes to events: every framing, and every place where a read may have cut the message. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NOT_HTTP } from '../../src/http1/fields.ts'
import { parseHead } from '../../src/http1/response-head.ts'
import { ResponseReader } from '../../src/http1/response-reader.ts'
import { byteByByte, piece, type Request, read, type Told } from './reading.ts'

const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`
const LAST = '0\r\n\r\n'

interface Case extends Request {
  readonly bytes: string
  readonly told: Partial<Told>
}

const MESSAGES: Readonly<Record<string, Case>> = {
  'a length': {
    bytes: `${OK}Content-Length: 5\r\nX: y\r\n\r\nhello`,
    told: { status: 200, headers: ['Content-Length', '5', 'X', 'y'], body: 'hello', consumed: 49, ended: 'by itself' },
  },
  'a length of zero': {
    bytes: `${OK}Content-Length: 0\r\n\r\n`,
    told: { status: 200, body: '', consumed: 38, ended: 'by itself' },
  },
  'a length that is not reached': {
    bytes: `${OK}Content-Length: 6\r\n\r\nhello`,
    told: { status: 200, body: 'hello', ended: 'cut' },
  },
  'bytes behind a length': {
    bytes: `${OK}Content-Length: 5\r\n\r\nhelloHTTP/1.1 200`,
    told: { body: 'hello', consumed: 43, ended: 'by itself' },
  },
  'a body to the end': {
    bytes: `${OK}\r\nhello\r\n\r\nworld`,
    told: { status: 200, headers: [], body: 'hello\r\n\r\nworld', consumed: 33, ended: 'whole at the end' },
  },
  'an empty body to the end': { bytes: `${OK}\r\n`, told: { status: 200, body: '', ended: 'whole at the end' } },
  'a head that is not whole': { bytes: `${OK}X: y\r\n`, told: { status: undefined, consumed: 23, ended: 'cut' } },
  nothing: { bytes: '', told: { status: undefined, consumed: 0, ended: 'cut' } },
  'one chunk': {
    bytes: `${CHUNKED}5\r\nhello\r\n${LAST}`,
    told: { body: 'hello', trailers: [], consumed: 62, ended: 'by itself' },
  },
  'no chunk but the last': { bytes: `${CHUNKED}${LAST}`, told: { body: '', consumed: 52, ended: 'by itself' } },
  'chunks of many sizes, in both cases, padded': {
    bytes: `${CHUNKED}1\r\na\r\nA\r\n0123456789\r\n00f\r\n0123456789abcde\r\n0000\r\n\r\n`,
    told: { body: 'a01234567890123456789abcde', ended: 'by itself' },
  },
  'a chunk that looks like its own framing': {
    bytes: `${CHUNKED}7\r\n\r\n0\r\n\r\n\r\n${LAST}`,
    told: { body: '\r\n0\r\n\r\n', ended: 'by itself' },
  },
  'chunk extensions': {
    bytes: `${CHUNKED}5;a\r\nhello\r\n1;b=c;d="e;f"\r\n!\r\n0;last\r\n\r\n`,
    told: { body: 'hello!', ended: 'by itself' },
  },
  'trailer fields': {
    bytes: `${CHUNKED}5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-sum:2 \r\nEmpty:\r\n\r\n`,
    told: { body: 'hello', trailers: ['X-Sum', '1', 'x-sum', '2', 'Empty', ''], ended: 'by itself' },
  },
  'bytes behind the last chunk': {
    bytes: `${CHUNKED}5\r\nhello\r\n${LAST}X`,
    told: { body: 'hello', consumed: 62, ended: 'by itself' },
  },
  'bytes behind trailer fields': {
    bytes: `${CHUNKED}0\r\nA: b\r\n\r\n\r\n`,
    told: { trailers: ['A', 'b'], consumed: 58, ended: 'by itself' },
  },
  'no last chunk': { bytes: `${CHUNKED}5\r\nhello\r\n`, told: { body: 'hello', ended: 'cut' } },
  'a last chunk and no end': { bytes: `${CHUNKED}5\r\nhello\r\n0\r\n`, told: { body: 'hello', ended: 'cut' } },
  'trailer fields and no end': { bytes: `${CHUNKED}0\r\nA: b\r\n`, told: { trailers: [], ended: 'cut' } },
  'HEAD with a length': {
    method: 'HEAD',
    bytes: `${OK}Content-Length: 5\r\n\r\n`,
    told: { status: 200, body: '', consumed: 38, ended: 'by itself' },
  },
  'HEAD, chunked': { method: 'HEAD', bytes: CHUNKED, told: { status: 200, consumed: 47, ended: 'by itself' } },
  'HEAD without framing': {
    method: 'HEAD',
    bytes: `${OK}\r\n`,
    told: { status: 200, consumed: 19, ended: 'by itself' },
  },
  'HEAD, and a body all the same': {
    method: 'HEAD',
    bytes: `${OK}Content-Length: 5\r\n\r\nhello`,
    told: { body: '', consumed: 38, ended: 'by itself' },
  },
  '204 without framing': {
    bytes: 'HTTP/1.1 204 No Content\r\n\r\n',
    told: { status: 204, consumed: 27, ended: 'by itself' },
  },
  '204 with a length': {
    bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello',
    told: { status: 204, body: '', consumed: 46, ended: 'by itself' },
  },
  '304 with a length, which is that of another response': {
    bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
    told: { status: 304, body: '', ended: 'by itself' },
  },
  '304, chunked': {
    bytes: 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n',
    told: { status: 304, body: '', ended: 'by itself' },
  },
  '205 has the framing that it says': {
    bytes: 'HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok',
    told: { status: 205, body: 'ok', ended: 'by itself' },
  },
  'interim responses': {
    bytes: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 x\r\n\r\n${OK}Content-Length: 2\r\n\r\nok`,
    told: { interims: ['100 ', '103 Link </a>', '102 '], status: 200, body: 'ok', ended: 'by itself' },
  },
  'an interim response and no final one': {
    bytes: 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    told: { interims: ['103 Link </a>'], status: undefined, ended: 'cut' },
  },
  'a 101 that was asked for': {
    upgrade: true,
    bytes: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi',
    told: { status: 101, body: '', consumed: 56, ended: 'by itself' },
  },
  'a 103 before a 101': {
    upgrade: true,
    bytes: 'HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 x\r\n\r\nmore',
    told: { interims: ['103 '], status: 101, consumed: 36, ended: 'by itself' },
  },
  'a refusal of what was asked for': {
    upgrade: true,
    bytes: 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno',
    told: { status: 403, body: 'no', ended: 'by itself' },
  },
  'no reason, and no space for it': {
    bytes: 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok',
    told: { status: 200, statusText: '', body: 'ok', ended: 'by itself' },
  },
  'a reason and values of all that is allowed': {
    bytes: `HTTP/1.1 200 \t~\xff ok\r\nContent-Length: 0\r\nX:\t a\tb\xfc  \r\n!#$%&'*+-.^_\`|~9z: \r\n\r\n`,
    told: {
      statusText: '\t~\xff ok',
      headers: ['Content-Length', '0', 'X', 'a\tb\xfc', "!#$%&'*+-.^_`|~9z", ''],
      ended: 'by itself',
    },
  },
  'HTTP/1.0': { bytes: 'HTTP/1.0 200 OK\r\n\r\nhello', told: { body: 'hello', ended: 'whole at the end' } },
  'chunked in capitals': {
    bytes: `${OK}TRANSFER-ENCODING: CHUNKED\r\n\r\n1\r\na\r\n${LAST}`,
    told: { body: 'a', ended: 'by itself' },
  },
}

const REFUSED: Readonly<Record<string, string>> = {
  'a 101 that nobody asked for': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n',
  'an interim response with a length': 'HTTP/1.1 103 x\r\nContent-Length: 0\r\n\r\n',
  'two lengths': `${OK}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
  'a length and chunks': `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${LAST}`,
  'a length of 16 digits': `${OK}Content-Length: 1000000000000000\r\n\r\n`,
  'a length with a blank in it': `${OK}Content-Length: 5 5\r\n\r\nhello`,
  'chunks in HTTP/1.0': `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${LAST}`,
  'an empty line first': `\r\n${OK}\r\n`,
  'LF for CRLF': 'HTTP/1.1 200 OK\n\n',
  'CR for CRLF': 'HTTP/1.1 200 OK\r\r',
  'a chunk of no size': `${CHUNKED}\r\nhello\r\n`,
  'a chunk size of 15 digits': `${CHUNKED}000000000000001\r\na\r\n`,
  'a chunk size above 2^53': `${CHUNKED}20000000000001\r\na\r\n`,
  'a blank behind a chunk size': `${CHUNKED}1 \r\na\r\n`,
  'a CR in a chunk extension': `${CHUNKED}1;\ra\r\na\r\n`,
  'a NUL in a chunk extension': `${CHUNKED}1;\0\r\na\r\n`,
  'LF behind a chunk size': `${CHUNKED}1\na\r\n`,
  'LF behind a chunk': `${CHUNKED}1\r\na\n${LAST}`,
  'CR behind a chunk, and no LF': `${CHUNKED}1\r\na\rx${LAST}`,
  'a chunk longer than it says': `${CHUNKED}1\r\nab\r\n${LAST}`,
  'LF for the empty line behind the last chunk': `${CHUNKED}0\r\n\n`,
  'LF behind a trailer field': `${CHUNKED}0\r\nA: b\n\r\n`,
  'CR in a trailer field': `${CHUNKED}0\r\nA: b\rc\r\n\r\n`,
  'a folded trailer field': `${CHUNKED}0\r\nA: b\r\n c\r\n\r\n`,
  'a trailer field without a colon': `${CHUNKED}0\r\nA\r\n\r\n`,
}

for (const [what, { bytes, told, ...request }] of Object.entries(MESSAGES)) {
  test(`${what}: the same in one piece, byte by byte, and cut in two anywhere`, () => {
    const all = Buffer.from(bytes, 'latin1')
    const whole = read([all], request)
    assert.deepEqual({ ...whole, ...told }, whole)
    assert.equal(whole.refused, undefined)
    assert.deepEqual(read(byteByByte(all), request), whole, 'byte by byte')
    for (let cut = 0; cut <= all.length; cut++) {
      assert.deepEqual(read([piece(all, 0, cut), piece(all, cut, all.length)], request), whole, `cut at ${cut}`)
    }
  })
}

for (const [what, bytes] of Object.entries(REFUSED)) {
  test(`${what}: refused in one piece, byte by byte, and cut in two anywhere`, () => {
    const all = Buffer.from(bytes, 'latin1')
    assert.equal(read([all]).refused, NOT_HTTP)
    assert.equal(read(byteByByte(all)).refused, NOT_HTTP, 'byte by byte')
    for (let cut = 0; cut <= all.length; cut++) {
      assert.equal(read([piece(all, 0, cut), piece(all, cut, all.length)]).refused, NOT_HTTP, `cut at ${cut}`)
    }
  })
}

test('what can never become a response is refused at its first wrong byte', () => {
  for (const begin of [
    'X',
    'HTTP/2',
    'HTTP/1.2',
    'HTTP/1.1x',
    'HTTP/1.1 2x',
    'HTTP/1.1 200 OK\n',
    'HTTP/1.1 200 OK\rx',
  ]) {
    const reader = new ResponseReader({ interim: () => {}, head: () => {}, data: () => {} })
    reader.expect('GET', false)
    const bytes = Buffer.from(begin)
    assert.equal(reader.read(bytes.subarray(0, -1)), bytes.length - 1)
    assert.throws(() => reader.read(bytes.subarray(-1)), { code: NOT_HTTP }, begin)
  }
  for (const begin of ['x', '+', '\n', '5;a\n', '123456789abcdef']) {
    assert.equal(read([Buffer.from(CHUNKED + begin)]).refused, NOT_HTTP, begin)
  }
})

/** A head whose end, the CRLF of its last field and the one of the empty line, begins at `bytes`. */
const headOf = (bytes: number): string => {
  const before = `${OK}Content-Length: 0\r\nX: `
  return `${before}${'a'.repeat(bytes - before.length)}\r\n\r\n`
}

/** In one piece, in reads as sockets make them, and with a cut at each of the last bytes. */
function* waysOf(text: string): Generator<Buffer[]> {
  const bytes = Buffer.from(text, 'latin1')
  yield [bytes]
  const reads: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 1460) reads.push(piece(bytes, at, at + 1460))
  yield reads
  for (let cut = bytes.length - 5; cut < bytes.length; cut++)
    yield [piece(bytes, 0, cut), piece(bytes, cut, bytes.length)]
}

test('a head of 64 KiB is read however it comes, and one of a byte more is refused', () => {
  for (const way of waysOf(headOf(65_536))) assert.equal(read(way).ended, 'by itself')
  for (const way of waysOf(headOf(65_537))) assert.equal(read(way).refused, NOT_HTTP)
  const endless = Array.from({ length: 46 }, () => Buffer.from('a'.repeat(1460)))
  assert.equal(read([Buffer.from(`${OK}X: `), ...endless]).refused, NOT_HTTP, 'nobody waits for its end')
})

test('a 101 of HTTP/1.0 is refused even where it was asked for', () => {
  assert.equal(read([Buffer.from('HTTP/1.0 101 x\r\n\r\n')], { upgrade: true }).refused, NOT_HTTP)
})

test('each head has its own 64 KiB: a long interim response takes nothing from the final one', () => {
  const interim = headOf(60_000).replace('200', '103').replace('Content-Length: 0\r\n', '')
  for (const way of waysOf(interim + headOf(60_000))) assert.equal(read(way).ended, 'by itself')
})

test('a line of a chunk of 16 KiB is read however it comes, and one of a byte more is refused', () => {
  const line = (bytes: number): string => `1;${'a'.repeat(bytes - 4)}\r\n`
  for (const way of waysOf(`${CHUNKED}${line(16_384)}`)) assert.equal(read(way).refused, undefined)
  for (const way of waysOf(`${CHUNKED}${line(16_385)}`)) assert.equal(read(way).refused, NOT_HTTP)
  assert.equal(read([Buffer.from(`${CHUNKED}1;${'a'.repeat(16_384)}`)]).refused, NOT_HTTP, 'nobody waits for its end')
})

test('trailer fields of 64 KiB are read however they come, and a byte more is refused', () => {
  const trailers = (bytes: number): string => `${CHUNKED}0\r\nX: ${'a'.repeat(bytes - 7)}\r\n\r\n`
  for (const way of waysOf(trailers(65_536))) assert.equal(read(way).trailers[1]?.length, 65_529)
  for (const way of waysOf(trailers(65_537))) assert.equal(read(way).refused, NOT_HTTP)
  assert.equal(
    read([Buffer.from(`${CHUNKED}0\r\n${'a'.repeat(65_537)}`)]).refused,
    NOT_HTTP,
    'nobody waits for its end',
  )
})

test('256 fields are read, in a head and behind a body, and 257 are refused', () => {
  const fields = (n: number): string => 'A: b\r\n'.repeat(n)
  assert.equal(read([Buffer.from(`${OK}${fields(256)}\r\n`)]).headers?.length, 512)
  assert.equal(read([Buffer.from(`${OK}${fields(257)}\r\n`)]).refused, NOT_HTTP)
  assert.equal(read([Buffer.from(`${CHUNKED}0\r\n${fields(256)}\r\n`)]).trailers.length, 512)
  assert.equal(read([Buffer.from(`${CHUNKED}0\r\n${fields(257)}\r\n`)]).refused, NOT_HTTP)
})

test('a reader reads one message after the other, and nothing of one is left for the next', () => {
  const bodies: string[] = []
  const reader = new ResponseReader({
    interim: () => {},
    head: () => bodies.push(''),
    data: chunk => bodies.push(`${bodies.pop()}${chunk}`),
  })
  assert.ok(reader.idle)
  assert.equal(reader.read(Buffer.from('unasked')), 0, 'nothing was asked for')
  const messages = [
    `${CHUNKED}5;${'x'.repeat(300)}\r\nhello\r\n0\r\nA: b\r\n\r\n`,
    `${OK}Content-Length: 5\r\n\r\nworld`,
    `${CHUNKED}1\r\n!\r\n${LAST}`,
  ]
  for (const message of messages) {
    reader.expect('GET', false)
    assert.ok(!reader.idle)
    for (const byte of byteByByte(Buffer.from(message))) assert.equal(reader.read(byte), 1)
    assert.ok(reader.idle)
    assert.deepEqual(reader.trailers, message.includes('A: b') ? ['A', 'b'] : [])
  }
  assert.deepEqual(bodies, ['hello', 'world', '!'])
})

test('a reader that was stopped in the midst of anything reads the next message from its beginning', () => {
  for (const begun of [
    `${OK}X: `,
    `${OK}Content-Length: 5\r\n\r\nhe`,
    `${CHUNKED}5`,
    `${CHUNKED}5\r\nhello\r`,
    `${CHUNKED}0\r\nA`,
  ]) {
    let body = ''
    const reader = new ResponseReader({ interim: () => {}, head: () => {}, data: chunk => (body += chunk.toString()) })
    reader.expect('GET', false)
    for (const byte of byteByByte(Buffer.from(begun))) reader.read(byte)
    reader.stop()
    assert.ok(reader.idle)
    assert.equal(reader.read(Buffer.from('rest')), 0)
    body = ''
    reader.expect('GET', false)
    for (const byte of byteByByte(Buffer.from(`${CHUNKED}2\r\nok\r\n${LAST}`))) reader.read(byte)
    assert.deepEqual([body, reader.idle], ['ok', true], begun)
  }
})

test('a reader that is stopped by whoever hears its event reads no further', () => {
  const told: string[] = []
  const stopping = new Map<string, string>([
    ['interim', `HTTP/1.1 103 x\r\n\r\n${OK}Content-Length: 2\r\n\r\nok`],
    ['head', `${OK}Content-Length: 2\r\n\r\nok`],
    ['data', `${CHUNKED}1\r\na\r\n1\r\nb\r\n${LAST}`],
  ])
  for (const [event, message] of stopping) {
    told.length = 0
    const tell = (what: string): void => {
      told.push(what)
      if (what === event) reader.stop()
    }
    const reader: ResponseReader = new ResponseReader({
      interim: () => tell('interim'),
      head: () => tell('head'),
      data: () => tell('data'),
    })
    reader.expect('GET', false)
    reader.read(Buffer.from(message))
    assert.deepEqual([told.at(-1), told.filter(what => what === event).length], [event, 1])
    assert.ok(reader.idle)
  }
})

test('whether a connection may serve another request, and for how long it lasts, is read off the head', () => {
  const of = (fields: string, version = '1.1'): [boolean, number] => {
    const { keepAlive, keepAliveHint } = parseHead(`HTTP/${version} 200 OK\r\n${fields}`)
    return [keepAlive, keepAliveHint]
  }
  assert.deepEqual(of(''), [true, -1])
  assert.deepEqual(of('Connection: close\r\n'), [false, -1])
  assert.deepEqual(of('connection: x, CLOSE\r\n'), [false, -1])
  assert.deepEqual(of('Connection: x\r\nConnection: close\t\r\n'), [false, -1])
  assert.deepEqual(of('Connection: closed\r\n'), [true, -1])
  assert.deepEqual(of('', '1.0'), [false, -1])
  assert.deepEqual(of('Connection: Keep-Alive\r\n', '1.0'), [true, -1])
  // RFC 9112 section 9.3: `close` is asked for first.
  assert.deepEqual(of('Connection: keep-alive, close\r\n', '1.0'), [false, -1])
  assert.deepEqual(of('Keep-Alive: timeout=5\r\n'), [true, 5])
  assert.deepEqual(of('Keep-Alive: max=100, Timeout = 7\r\n'), [true, 7])
  assert.deepEqual(of('Keep-Alive: max=100\r\n'), [true, -1])
  assert.deepEqual(of('Keep-Alive: xtimeout=5\r\n'), [true, -1])
})
