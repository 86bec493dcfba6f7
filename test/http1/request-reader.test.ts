/** The reader of requests, from bytes to events: every framing, every refusal, and every place where a read may have cut them. */
import assert from 'node:assert/strict'
import { METHODS } from 'node:http'
import { test } from 'node:test'
import { NOT_HTTP } from '../../src/http1/fields.ts'
import { type ClientHead, TLS_SPOKEN } from '../../src/http1/request-head.ts'
import { type RequestEvents, RequestReader } from '../../src/http1/request-reader.ts'
import { byteByByte, piece } from './reading.ts'
import { type Message, MOST, read, type Told } from './request-reading.ts'

const HOST = 'Host: a.example\r\n'
const GET = `GET / HTTP/1.1\r\n${HOST}`
const POST = `POST /p HTTP/1.1\r\n${HOST}`
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`
const LAST = '0\r\n\r\n'

/** In one piece, byte by byte, and cut in two at every place, or only at the last ones of what is long. */
function* waysOf(text: string): Generator<Buffer[]> {
  const bytes = Buffer.from(text, 'latin1')
  const long = bytes.length > 2000
  yield [piece(bytes, 0, bytes.length)]
  if (!long) yield [...byteByByte(bytes)]
  const packets: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 1460) packets.push(piece(bytes, at, at + 1460))
  yield packets
  for (let cut = long ? bytes.length - 9 : 1; cut < bytes.length; cut++) {
    yield [piece(bytes, 0, cut), piece(bytes, cut, bytes.length)]
  }
}

/** The same in all ways. */
function tellOf(text: string): Told {
  const [whole = [], ...others] = waysOf(text)
  const told = read(whole)
  for (const way of others) assert.deepEqual(read(way), told, `in pieces of ${way.map(({ length }) => length)}`)
  return told
}

/** The only message of this text. */
function messageOf(text: string): Message {
  const { messages, refused } = tellOf(text)
  assert.deepEqual([messages.length, refused], [1, undefined], text)
  return messages[0] as Message
}

function refuses(text: string, status = 400, code = NOT_HTTP): void {
  const { messages, refused } = tellOf(text)
  assert.deepEqual([messages, refused], [[], [code, status]], JSON.stringify(text.slice(0, 200)))
}

// biome-ignore format: a message and what is told of it
const MESSAGES: Readonly<Record<string, readonly [string, ...Partial<Message>[]]>> = {
  'a head and nothing else': [
    `GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nX:\t y z \r\nx:\r\n\r\n`,
    { method: 'GET', target: '/a?b', minorVersion: 1, headers: ['Host', 'a.example:80', 'X', 'y z', 'x', ''], host: 'a.example:80',
      contentLength: -1, chunked: false, hasBody: false, keepAlive: true, expectsContinue: false, upgrade: '',
      body: '', trailers: [], headEnd: 55, end: 55 },
  ],
  'a length': [
    `${POST}Content-Length: 5\r\n\r\nhello`,
    { method: 'POST', contentLength: 5, hasBody: true, chunked: false, body: 'hello', headEnd: 56, end: 61 },
  ],
  'a length of zero': [`${POST}content-length:0\r\n\r\n`, { contentLength: 0, hasBody: false, body: '', headEnd: 55, end: 55 }],
  'a length of a body of all bytes': [
    `${POST}Content-Length: 12\r\n\r\n\r\n\r\n0\r\n\r\n\0\xff\x16`, { body: '\r\n\r\n0\r\n\r\n\0\xff\x16' },
  ],
  'a length of 15 digits, which is not reached': [
    `${POST}Content-Length: 999999999999999\r\n\r\nhello`, { contentLength: 999_999_999_999_999, body: 'hello', headEnd: 70, end: -1 },
  ],
  'one chunk': [
    `${CHUNKED}5\r\nhello\r\n${LAST}`,
    { contentLength: -1, chunked: true, hasBody: true, body: 'hello', trailers: [], headEnd: 65, end: 80 },
  ],
  'no chunk but the last': [`${CHUNKED}${LAST}`, { chunked: true, hasBody: true, body: '', headEnd: 65, end: 70 }],
  'chunks of many sizes, in both cases, padded': [
    `${CHUNKED}1\r\na\r\nA\r\n0123456789\r\n00f\r\n0123456789abcde\r\n0000\r\n\r\n`, { body: 'a01234567890123456789abcde', end: 116 },
  ],
  'a chunk that looks like its own framing': [`${CHUNKED}7\r\n\r\n0\r\n\r\n\r\n${LAST}`, { body: '\r\n0\r\n\r\n' }],
  'chunk extensions, of which some are quoted': [
    `${CHUNKED}5;a\r\nhello\r\n1;b=c;d="e;f \t\\"g\\\\"\r\n!\r\n0;last\xff\r\n\r\n`, { body: 'hello!', trailers: [] },
  ],
  'trailer fields': [
    `${CHUNKED}5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-sum:2 \r\nEmpty:\r\n\r\n`,
    { body: 'hello', trailers: ['X-Sum', '1', 'x-sum', '2', 'Empty', ''], end: 108 },
  ],
  'no last chunk': [`${CHUNKED}5\r\nhello\r\n`, { body: 'hello', end: -1 }],
  'a last chunk and no end': [`${CHUNKED}5\r\nhello\r\n0\r\n`, { body: 'hello', end: -1 }],
  'trailer fields and no end': [`${CHUNKED}0\r\nA: b\r\n`, { trailers: [], end: -1 }],
  'chunked in capitals': [`${POST}TRANSFER-ENCODING:CHUNKED \r\n\r\n1\r\na\r\n${LAST}`, { chunked: true, body: 'a' }],
  'several messages, one behind the other': [
    `${GET}\r\n${POST}Content-Length: 2\r\n\r\nok${CHUNKED}1\r\n!\r\n0\r\nA: b\r\n\r\n${CHUNKED}${LAST}${GET}\r\n`,
    { method: 'GET', headEnd: 35, end: 35 },
    { method: 'POST', body: 'ok', trailers: [], headEnd: 91, end: 93 },
    { method: 'POST', body: '!', trailers: ['A', 'b'], headEnd: 158, end: 175 },
    { method: 'POST', body: '', trailers: [], headEnd: 240, end: 245 }, { method: 'GET', body: '', trailers: [], headEnd: 280, end: 280 },
  ],
  'a message, and half of the next': [`${GET}\r\n${GET}`, { end: 35 }],
  'empty lines before a request line': [`\r\n\r\n\r\n${GET}\r\n`, { method: 'GET', headEnd: 41, end: 41 }],
  'an empty line behind a body': [
    `${POST}Content-Length: 2\r\n\r\nok\r\n${GET}\r\n\r\n\r\n`, { body: 'ok', end: 58 }, { method: 'GET', end: 95 },
  ],
  'only empty lines': ['\r\n\r\n'],
  'HTTP/1.0 without a Host': ['GET / HTTP/1.0\r\n\r\n', { minorVersion: 0, headers: [], host: '', hasBody: false, keepAlive: false, end: 18 }],
  'HTTP/1.0 with a length': [
    `GET / HTTP/1.0\r\n${HOST}Content-Length: 2\r\n\r\nok`, { minorVersion: 0, host: 'a.example', body: 'ok', keepAlive: false },
  ],
  'names and values of all that is allowed': [
    `${GET}X: \ta\tb~\x80\xff\t \r\n!#$%&'*+-.^_\`|~9z: \r\n\r\n`,
    { headers: ['Host', 'a.example', 'X', 'a\tb~\x80\xff\t', "!#$%&'*+-.^_`|~9z", ''] },
  ],
}

for (const [what, [bytes, ...expected]] of Object.entries(MESSAGES)) {
  test(`${what}: the same in one piece, byte by byte, and cut in two anywhere`, () => {
    const { messages, refused } = tellOf(bytes)
    assert.equal(refused, undefined)
    const all = expected.map((some, i) => ({ ...(messages[i] as Message), ...some }))
    assert.deepEqual(messages, all)
  })
}

test('every method of Node is read, and targets and hosts of every form as they came', () => {
  for (const method of METHODS) assert.equal(messageOf(`${method} / HTTP/1.1\r\n${HOST}\r\n`).method, method)
  const targets = ['*', 'a.example:443', 'http://a.example/b?c#d', '/a%2F//../b?c=d?e', '/"<>\\^`{|}', '/\x80\xff', 'x']
  for (const target of targets) assert.equal(messageOf(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`).target, target)
  assert.equal(messageOf('CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n').target, 'a.example:443')
  for (const host of ['a', 'A-b_c.Example', '127.0.0.1:65535', '[::1]', '[2001:db8::1]:0', 'a.example.:00080']) {
    assert.equal(messageOf(`GET / HTTP/1.1\r\nhOST:${host} \r\n\r\n`).host, host)
    assert.equal(messageOf(`GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`).host, host)
  }
})

/** What is said by a request line and each of these fields. */
// biome-ignore format: lists of fields
const SAYS: readonly (readonly [Exclude<keyof ClientHead, 'fields'>, unknown, string, readonly string[]])[] = [
  ['keepAlive', true, 'GET / HTTP/1.1', ['X: y', 'Connection: keep-alive', 'Connection: closed, x', 'Connection: close x', 'Close: close']],
  ['keepAlive', false, 'GET / HTTP/1.1', [
    'Connection: close', 'connection:x, CLOSE', 'Connection: ,Close ,', 'Connection: x\r\nCONNECTION:\tcLose',
    'Connection: close\r\nConnection: keep-alive', 'Connection: keep-alive,\tclose',
  ]],
  ['keepAlive', true, 'GET / HTTP/1.0', ['Connection: Keep-Alive', 'connection:x,KEEP-ALIVE', 'Connection: x\r\nConnection: keep-alive\t']],
  // RFC 9112 section 9.3: `close` is asked for first.
  ['keepAlive', false, 'GET / HTTP/1.0', [
    'X: y', 'Connection: x', 'Connection: keep-alive-not', 'Keep-Alive: timeout=5', 'Connection: close', 'Connection: keep-alive, close',
  ]],
  ['expectsContinue', true, 'PUT / HTTP/1.1', ['Expect: 100-continue', 'EXPECT:100-Continue ', 'Expect: x, 100-continue']],
  ['expectsContinue', false, 'PUT / HTTP/1.1', ['X: 100-continue', 'Expect: 100-continued', 'Expect: 200-ok', 'Expect:']],
  ['expectsContinue', false, 'PUT / HTTP/1.0', ['Expect: 100-continue']],
  ['upgrade', 'websocket', 'GET / HTTP/1.1', [
    'Connection: Upgrade\r\nUpgrade: websocket', 'UPGRADE:websocket\r\nconnection: x,\tUPGRADE',
    'Connection: keep-alive\r\nUpgrade: websocket\r\nConnection: upgrade',
  ]],
  ['upgrade', 'h2c,x/1', 'GET / HTTP/1.1', ['Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: x/1']],
  ['upgrade', '', 'GET / HTTP/1.1', [
    'Upgrade: websocket', 'Connection: upgrade', 'Connection: upgraded\r\nUpgrade: websocket', 'Connection: websocket\r\nUpgrade: upgrade',
  ]],
]

for (const [what, value, line, fields] of SAYS) {
  test(`${line} and ${fields.map(field => JSON.stringify(field)).join(', or ')}: ${what} is ${value || "''"}`, () => {
    for (const field of fields) assert.equal(messageOf(`${line}\r\n${HOST}${field}\r\n\r\n`)[what], value, field)
  })
}

const named = (names: readonly string[], bytes: (name: string) => string): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map(name => [JSON.stringify(name), bytes(name)]))

// biome-ignore format: lists of lines, hosts and fields
const REFUSED: Readonly<Record<string, string>> = {
  ...named([
    'GET / HTTP/0.9', 'GET / HTTP/1.2', 'GET / HTTP/2.0', 'GET / http/1.1', 'GET / RTSP/1.0', 'GET / HTTP/1', 'GET / HTTP/1.10',
    'GET / HTTP/11', 'GET / HTTP/01.1', 'GET / HTTP/1.1.1', 'GET / HTTP/ 1.1', 'GET / HTTP /1.1', 'GET /', 'GET / ', 'GET', 'GET ', '/',
    'get / HTTP/1.1', 'GETS / HTTP/1.1', 'GE / HTTP/1.1', 'G(T / HTTP/1.1', 'GET: / HTTP/1.1', 'HELLO / HTTP/1.1', 'PRI * HTTP/2.0',
    'GET  / HTTP/1.1', 'GET /  HTTP/1.1', 'GET / HTTP/1.1 ', ' GET / HTTP/1.1', 'GET  HTTP/1.1', 'GET HTTP/1.1', 'GET /a b HTTP/1.1',
    'GET\t/ HTTP/1.1', 'GET /\tHTTP/1.1', 'GET / HTTP/1.1\t', '\tGET / HTTP/1.1', 'GET /\x0bHTTP/1.1', 'GET / HTTP/1.1 x', 'GET / HTTP/1.1xxX: y',
    'GET /\0 HTTP/1.1', 'GET /\x01 HTTP/1.1', 'GET /\x7f HTTP/1.1', '\0GET / HTTP/1.1', 'GET /\r HTTP/1.1', 'GET / HTTP/1.1\r',
    'GET /\n HTTP/1.1', 'HTTP/1.1 200 OK', 'GET\xa0/ HTTP/1.1', '\xef\xbb\xbfGET / HTTP/1.1',
  ], line => `${line}\r\n${HOST}\r\n`),
  ...named([
    '', ' ', 'a b', 'a/b', 'a\\b', 'u@a', 'a?b', 'a#b', 'a, b', 'a%2e', 'a"b', '\xe4', 'a:', 'a:x', 'a:65536', 'a:123456', 'a:80:81', ':80',
    '[::1', '::1', '[::1::]', '[a]', '[::1]x', '[fe80::1%25x]', '[127.0.0.1]', 'http://a', '*', 'a\t', 'a\x0b',
  ], host => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`),
  ...named([
    'Host: a.example', 'hOST: b', 'Content-Length: 5\r\nContent-Length: 5', 'Content-Length: 5\r\ncontent-length: 6', 'Content-Length: 0x5',
    'Content-Length: 5, 5', 'Content-Length: +5', 'Content-Length: -5', 'Content-Length: -0', 'Content-Length: 05', 'Content-Length:',
    'Content-Length: 5 5', 'Content-Length: 5.0', 'Content-Length: 5e0', 'Content-Length: a', 'Content-Length: "5"', 'Content-Length: 5;',
    'Content-Length: 5\t', 'Content-Length: \xa05', 'Content-Length: 5\0', 'Content-Length: 1000000000000000', 'Content_Length: 5',
    'Content.Length: 5', 'CONTENT~LENGTH: 5', 'Content-Length : 5', 'Content-Length\t: 5', 'Content-Length: 0\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nContent-Length: 5', 'Transfer-Encoding: identity', 'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding: chunked, identity', 'Transfer-Encoding: chunked, chunked', 'Transfer-Encoding: chunked,',
    'Transfer-Encoding: ,chunked', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', 'Transfer-Encoding:',
    'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: xchunked', 'Transfer-Encoding: "chunked"',
    'Transfer-Encoding: chunked;q=1', 'Transfer-Encoding: chunked\t', 'Transfer-Encoding: \x0bchunked', 'Transfer-Encoding: chunked\xa0',
    'Transfer_Encoding: chunked', 'Transfer.Encoding: x', 'TRANSFER!ENCODING: chunked', 'Transfer-Encoding : chunked',
    'X: y\r\n z', 'X: y\r\n\tz', 'X:\r\n y', 'X: y\r\n ', ' X: y', 'X : y', 'X\t: y', ': y', 'X', 'X Y: z', 'X(: y', 'X\xe9: y', 'X\0: y',
    'X\x7f: y', 'X: a\rb', 'X: a\nb', 'X: y\r', 'X: y\r\r\nA: b', 'X: y\nA: b', 'X: y\rA: b', 'X: \0', 'X: a\x01b', 'X: \x0b', 'X: \x1b[2J', 'X: \x7f',
  ], fields => `${GET}${fields}\r\n\r\n`),
  ...named(['x', '+1', '-1', '0x1', '1x', '1 ', ' 1', '1\t', '1 ;a', '1,1', '1\0', '1.0', '1;a="b', '1;a="\\"', '1;\ra', '1;\0', '1;\x7f', '1\r'],
    size => `${CHUNKED}${size}\r\na\r\n${LAST}`),
  ...named(['A: b\n', 'A: b\rc', 'A: b\r', 'A: b\r\n c', 'A', ': b', 'A : b', 'A: \0', 'A\xe9: b', ' A: b'],
    trailer => `${CHUNKED}0\r\n${trailer}\r\n\r\n`),
  'no Host': 'GET / HTTP/1.1\r\nX: y\r\n\r\n', 'no field': 'GET / HTTP/1.1\r\n\r\n',
  'a folded line first': `GET / HTTP/1.1\r\n ${HOST}\r\n`, 'two Hosts in HTTP/1.0': `GET / HTTP/1.0\r\n${HOST}${HOST}\r\n`,
  'chunks in HTTP/1.0': `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`,
  'LF for CRLF': 'GET / HTTP/1.1\nHost: a\n\n', 'CR for CRLF': 'GET / HTTP/1.1\rHost: a\r\r',
  'LF for the empty line': `${GET}\n`, 'CR CR LF for the empty line': `${GET}\r\r\n`,
  'an empty line of LF first': `\n${GET}\r\n`, 'an empty line of CR first': `\r${GET}\r\n`,
  'a CR too much in an empty line first': `\r\r\n${GET}\r\n`, 'a blank in an empty line first': ` \r\n${GET}\r\n`,
  'a chunk of no size': `${CHUNKED}\r\nhello\r\n`, 'a chunk size of 15 digits': `${CHUNKED}000000000000001\r\na\r\n`,
  'a chunk size above 2^53': `${CHUNKED}20000000000001\r\na\r\n`, 'LF behind a chunk size': `${CHUNKED}1\na\r\n`,
  'CR behind a chunk size': `${CHUNKED}1\ra\r\n`, 'LF in a chunk extension': `${CHUNKED}1;a\na\r\n`,
  'CRLF in a quoted chunk extension': `${CHUNKED}1;a="\r\n"\r\na\r\n`, 'LF behind a chunk': `${CHUNKED}1\r\na\n${LAST}`,
  'CR behind a chunk, and no LF': `${CHUNKED}1\r\na\rx${LAST}`, 'nothing behind a chunk': `${CHUNKED}1\r\na${LAST}`,
  'a chunk longer than it says': `${CHUNKED}1\r\nab\r\n${LAST}`, 'a chunk shorter than it says': `${CHUNKED}3\r\na\r\n${LAST}`,
  'another byte for the CR behind a chunk': `${CHUNKED}1\r\na!\n${LAST}`, 'LF behind the last chunk': `${CHUNKED}0\n\r\n`, 'LF for the last empty line': `${CHUNKED}0\r\n\n`,
  'CR CR LF for the last empty line': `${CHUNKED}0\r\n\r\r\n`,
}

for (const [what, bytes] of Object.entries(REFUSED)) {
  test(`${what}: refused with 400 in one piece, byte by byte, and cut in two anywhere`, () => {
    refuses(bytes)
  })
}

/** Nothing of `begin` is refused but its last byte. */
function refusesLast(begin: string, code = NOT_HTTP): void {
  assert.deepEqual(read([Buffer.from(begin.slice(0, -1), 'latin1')]), { messages: [] }, JSON.stringify(begin))
  refuses(begin, 400, code)
}

test('what can never become a request is refused at its first wrong byte', () => {
  // biome-ignore format: a list of beginnings
  const begins = [
    '\n', '\rG', '\r\r', '\r\n\n', ' ', '\0', '{', '\x80', '\xff', 'get ', 'HELLO ', 'GET\t', 'GET:', 'GET/', 'GET\n', 'SSH-2.0-Open',
    'GETGETGETGET', 'GET / HTTP/1.1\n', 'GET / HTTP/1.1\rx', `${GET}\n`, `${GET}\rx`, `${GET}X: y\n`,
  ]
  for (const begin of begins) refusesLast(begin)
  refuses('HELLO THERE')
  for (const begin of ['x', '+', '\n', '5;a\n', '123456789abcdef']) refuses(CHUNKED + begin)
})

test('TLS is told apart at its first byte, and whatever bytes are in its ClientHello', () => {
  refusesLast('\x16', TLS_SPOKEN)
  refusesLast('\r\n\x16', TLS_SPOKEN)
  const hello = '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
  for (const random of ['', '\xaa'.repeat(32), '\n\r\n\r', '\r\n\r\n']) refuses(hello + random, 400, TLS_SPOKEN)
})

test('100 fields are read, in a head and behind a body, and 101 are refused with 431', () => {
  const fields = (n: number): string => 'A: b\r\n'.repeat(n)
  assert.equal(messageOf(`${GET}${fields(99)}\r\n`).headers.length, 200)
  refuses(`${GET}${fields(100)}\r\n`, 431)
  assert.equal(messageOf(`${CHUNKED}0\r\n${fields(100)}\r\n`).trailers.length, 200)
  refuses(`${CHUNKED}0\r\n${fields(101)}\r\n`, 431)
})

test('a head of as many bytes as it may have is read however it comes; one of a byte more is refused with 431, and nobody waits for its end', () => {
  const head = (bytes: number): string => `${GET}X: ${'a'.repeat(bytes - GET.length - 3)}\r\n\r\n`
  assert.equal(messageOf(head(MOST)).end, MOST + 4)
  assert.equal(messageOf(`\r\n\r\n${head(MOST)}`).end, MOST + 8, 'empty lines are no part of it')
  refuses(head(MOST + 1), 431)
  refuses(head(MOST + 9).slice(0, MOST + 4), 431)
  assert.equal(tellOf(head(MOST) + head(MOST)).messages.length, 2, 'each head has its own limit')
})

test('a head whose first line alone is longer than that is refused with 414, and nobody waits for its end', () => {
  const line = (bytes: number): string => `GET /${'a'.repeat(bytes - 14)} HTTP/1.1\r\n`
  refuses(`${line(MOST - 2)}${HOST}\r\n`, 431)
  refuses(`${line(MOST - 1)}${HOST}\r\n`, 414)
  refuses(`${line(MOST + 9)}${HOST}\r\n`, 414)
  refuses(`GET /${'a'.repeat(MOST)}`, 414)
})

test('a line of a chunk of 16 KiB is read however it comes; one of a byte more is refused, and nobody waits for its end', () => {
  const line = (bytes: number): string => `${CHUNKED}1;${'a'.repeat(bytes - 4)}\r\n`
  assert.equal(messageOf(`${line(16_384)}a\r\n${LAST}`).body, 'a')
  refuses(line(16_385))
  refuses(`${CHUNKED}1;${'a'.repeat(16_384)}`)
})

test('trailer fields of as many bytes as a head may have are read however they come; a byte more is refused, and nobody waits for their end', () => {
  const trailers = (bytes: number): string => `${CHUNKED}0\r\nX: ${'a'.repeat(bytes - 7)}\r\n\r\n`
  assert.equal(messageOf(trailers(MOST)).trailers[1]?.length, MOST - 7)
  refuses(trailers(MOST + 1))
  refuses(`${CHUNKED}0\r\n${'a'.repeat(MOST + 1)}`)
})

test('a reader reads from where it is told, and says where it stands', () => {
  const reader = new RequestReader({ head: () => {}, data: () => {}, bodyEnd: () => {} }, MOST)
  const states: string[] = []
  for (const text of ['\r', '\n', 'G', `${GET.slice(1)}\r\n`, `${POST}Content-Length: 2\r\n\r\n`, 'o', 'k']) {
    const bytes = Buffer.from(`behind\r\n\r\n${text}`)
    assert.equal(reader.read(bytes, 10), bytes.length)
    states.push(`${reader.inHead ? 'head' : ''}${reader.inBody ? 'body' : ''}`)
  }
  assert.deepEqual(states, ['head', '', 'head', '', 'body', 'body', ''])
})

/** All that is told of these bytes, up to an event that stops the reader. */
function toldUntil(stop: string, bytes: Buffer): { told: string[]; at: number; reader: RequestReader } {
  const told: string[] = []
  const tell = (what: string): void => {
    told.push(what)
    if (what === stop) reader.stop()
  }
  const events: RequestEvents = {
    head: ({ method }) => tell(method),
    data: chunk => tell(`${chunk}`),
    bodyEnd: trailers => tell(`end${trailers}`),
  }
  const reader: RequestReader = new RequestReader(events, MOST)
  let at = 0
  while (at < bytes.length && !told.includes(stop)) at = reader.read(bytes, at)
  return { told, at, reader }
}

test('a reader that is stopped by whoever hears its event tells nothing more', () => {
  const length = Buffer.from(`${POST}Content-Length: 2\r\n\r\nok`)
  const chunks = Buffer.from(`${CHUNKED}1\r\na\r\n1\r\nb\r\n${LAST}`)
  for (const [stop, bytes, all, end] of [
    ['POST', length, ['POST'], 56],
    ['ok', length, ['POST', 'ok'], 58],
    ['a', chunks, ['POST', 'a'], 69],
    ['b', chunks, ['POST', 'a', 'b'], 75],
  ] as const) {
    const { told, at, reader } = toldUntil(stop, bytes)
    assert.deepEqual([told, at, reader.inHead, reader.inBody], [all, end, false, false], stop)
  }
})

test('a reader that was stopped in the midst of anything reads the next message from its beginning', () => {
  const begun = ['\r', 'GE', `${GET}X: `, `${POST}Content-Length: 5\r\n\r\nhe`]
  const inChunks = ['5', '5;a', '5\r\nhel', '5\r\nhello', '5\r\nhello\r', '0\r\nA: b\r\n'].map(text => CHUNKED + text)
  for (const text of [...begun, ...inChunks]) {
    const { told, reader } = toldUntil('', Buffer.from(text))
    reader.stop()
    assert.deepEqual([reader.inHead, reader.inBody], [false, false])
    told.length = 0
    const next = Buffer.from(`${CHUNKED}2\r\nok\r\n${LAST}${GET}\r\n`)
    for (const byte of byteByByte(next)) assert.equal(reader.read(byte, 0), 1)
    assert.deepEqual(told, ['POST', 'o', 'k', 'end', 'GET'], JSON.stringify(text))
  }
})
