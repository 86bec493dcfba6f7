/**
 * The reader of requests against Node's own (llhttp), on mutated requests: what ours accepts must be the same messages to
 * Node, with the same method, target, version, fields, body and trailer fields, and end at the same byte: whatever is sent
 * behind them is the next request to both, or to neither. Ours may refuse more. Both get the bytes without a socket, so a
 * run is the same every time.
 */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { hasForbiddenTrailer } from '../../src/exchange/trailers.ts'
import { NOT_HTTP, type NotHttp } from '../../src/http1/fields.ts'
import { type ClientHead, TLS_SPOKEN } from '../../src/http1/request-head.ts'
import { RequestReader } from '../../src/http1/request-reader.ts'
import { readTarget } from '../../src/server/target.ts'

const SEED = 20261121
const REQUESTS = 40_000
const BATCH = 200
const MOST_HEAD_BYTES = 16 * 1024

/** One message as a reader has understood it. */
interface Message {
  readonly method: string
  readonly target: string
  readonly version: string
  readonly fields: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
}

/** What is sent behind all that was accepted. */
const NEXT_BYTES = Buffer.from('GET /next HTTP/1.1\r\nHost: next\r\n\r\n')

interface Accepted {
  readonly messages: readonly Message[]
  /** Where each of them ends. */
  readonly ends: readonly number[]
  /** Another request is read behind them. */
  readonly goesOn: boolean
  /** The status that refused what follows them; 0: nothing was. */
  readonly refused: number
}

/** As a connection reads, and an exchange judges. Nothing is read behind the last request, nor behind one that may switch protocols. */
function readByUs(pieces: readonly Buffer[]): Accepted {
  const messages: Message[] = []
  const ends: number[] = []
  const heads: ClientHead[] = []
  const body: string[] = []
  const trailers: string[] = []
  const reader = new RequestReader(
    {
      head: head => heads.push(head),
      data: chunk => body.push(chunk.toString('latin1')),
      bodyEnd: fields => trailers.push(...fields),
    },
    MOST_HEAD_BYTES,
  )
  let goesOn = true
  let refused = 0
  let read = 0
  try {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length && goesOn; ) {
        const next = reader.read(piece, at)
        assert.ok(next > at && next <= piece.length, 'a reader that does not go on')
        at = next
        const [head] = heads
        if (head === undefined || (reader.inBody && head.method !== 'CONNECT')) continue
        if (hasForbiddenTrailer(trailers)) return { messages, ends, goesOn: true, refused: 400 }
        const { method, target, minorVersion, keepAlive, upgrade } = head
        const rest = { body: body.splice(0).join(''), trailers: trailers.splice(0) }
        messages.push({ method, target, version: `1.${minorVersion}`, fields: head.fields.flat(), ...rest })
        ends.push(read + at)
        heads.length = 0
        goesOn = keepAlive && upgrade === '' && method !== 'CONNECT'
      }
      read += piece.length
    }
  } catch (error) {
    const { code, status } = error as NotHttp
    assert.ok(code === NOT_HTTP || code === TLS_SPOKEN, `${error}`)
    refused = status
  }
  return { messages, ends, goesOn, refused }
}

/** Node's server on a connection of memory. Judged when all its ticks are over: `messages` may change until then. */
class NodesServer {
  static readonly #of = new WeakMap<object, NodesServer>()
  static readonly #server = NodesServer.#start()
  /** Those that are whole. */
  readonly messages: Message[] = []
  error = ''

  constructor(bytes: Buffer) {
    const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
    NodesServer.#of.set(socket, this)
    NodesServer.#server.emit('connection', socket)
    socket.push(bytes)
  }

  static #start(): Server {
    const heard = (request: IncomingMessage): void => NodesServer.#of.get(request.socket)?.hear(request)
    const failed = (socket: object, message: string): void => {
      const it = NodesServer.#of.get(socket)
      if (it !== undefined) it.error = message
    }
    const server = createServer({ maxHeaderSize: 1 << 20 }, heard)
    server.on('checkContinue', heard)
    server.on('checkExpectation', heard)
    server.on('connect', (request, socket, rest) => {
      if (rest.equals(NEXT_BYTES)) heard(request)
      else failed(socket, `behind CONNECT is ${JSON.stringify(`${rest}`)}`)
    })
    server.on('clientError', ({ message }, socket) => failed(socket, message))
    return server
  }

  hear(request: IncomingMessage): void {
    const body: string[] = []
    request.setEncoding('latin1')
    request.on('data', chunk => body.push(chunk))
    request.on('end', () => {
      const { method = '', url: target = '', httpVersion: version, rawHeaders: fields, rawTrailers: trailers } = request
      if (request.complete) this.messages.push({ method, target, version, fields, body: body.join(''), trailers })
    })
  }
}

// ---- the messages ----

const HOST = 'Host: a.example\r\n'
const GET = `GET / HTTP/1.1\r\n${HOST}`
const POST = `POST /p?q=1 HTTP/1.1\r\n${HOST}`
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const CORPUS = [
  `${GET}\r\n`,
  `${GET}X: y\r\nAccept: */*\r\n\r\n`,
  `${GET}Content-Length: 0\r\n\r\n`,
  `HEAD /a%20b?c=d HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
  `${POST}Content-Length: 5\r\n\r\nhello`,
  `${POST}Content-Length: 12\r\nConnection: keep-alive\r\n\r\nhello\r\nworld`,
  `${POST}Content-Length: 38\r\n\r\nGET /inner HTTP/1.1\r\nHost: a.example\r\n\r`,
  `\r\n\r\nPUT / HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok`,
  `${POST}${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`,
  `${POST}${CHUNKED}\r\n1\r\na\r\n0A\r\n0123456789\r\n0\r\n\r\n`,
  `${POST}${CHUNKED}\r\n5;a=b\r\nhello\r\n1;c="d e"\r\n!\r\n0;f\r\n\r\n`,
  `${POST}Trailer: X-Sum\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: z\r\n\r\n`,
  `${POST}${CHUNKED}\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n`,
  `GET / HTTP/1.0\r\n\r\n`,
  `POST / HTTP/1.0\r\n${HOST}Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello`,
  `${GET}Connection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  `${GET}Upgrade: websocket\r\nConnection: x\r\nConnection: Y , z\r\n\r\n`,
  `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`,
  `GET http://a.example/b HTTP/1.1\r\n${HOST}\r\n`,
  `CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n`,
  `${POST}Content-Length: 5\r\n\r\nhello${GET}\r\n`,
  `${POST}${CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n\r\n${POST}Content-Length: 1\r\n\r\n!${GET}Connection: close\r\n\r\n`,
]

/** What makes readers disagree. Of fields: those that frame, or nearly. */
// biome-ignore format: lists
const WORDS = {
  anywhere: [
    '\r', '\n', '\r\n', '\r\n\r\n', '\n\n', '\r\r\n', '\n\r', ' ', '\t', '\0', '\x0b', '\x0c', '\x7f', '\x80', '\xa0', '\xff', '0x', '\r\n ',
    ':', ';', ',', '"', '\\', '-', '+', '_', '=', '0', '5', 'a', '\r\n\t', '/', '#', '?', '%', '@', '[', '*',
  ],
  lineEnds: ['\n', '\r', '\r\r\n', '\n\r', ' \r\n', '\t\r\n', '\0\r\n', '\r\n\r\n', '\r\n '],
  fields: [
    ...[
      '5', '3', '05', '+5', '-5', '5, 5', '0x5', '5 ', '5\t', '\t5', '5;', '5 5', '', '18446744073709551621', '5e0', '5\0', '\xa05', '"5"',
    ].map(value => `Content-Length: ${value}`),
    ...[
      'chunked', 'CHUNKED', 'chunked ', 'chunked\t', '\tchunked', 'chunked,', ',chunked', 'chunked, chunked', 'gzip, chunked', 'identity',
      'chunked, identity', 'xchunked', 'chunkedx', '"chunked"', 'chunked;q=1', '', '\x0bchunked', 'chunked\xa0', '\r\n chunked',
    ].map(value => `Transfer-Encoding: ${value}`),
    ...[
      'close', 'keep-alive', 'Close, x', 'x,KEEP-ALIVE', 'close\t', 'xclose', 'close x', 'keep-alive, close', 'close\xa0', '"close"', '', ',',
      '\tclose ,', 'upgrade', 'upgrade\r\nUpgrade: h2c', 'close, upgrade\r\nUpgrade: x', 'upgrade\r\nUpgrade:', 'upgraded\r\nUpgrade: x',
      'content-length', 'transfer-encoding', 'x\r\nConnection: close', 'close;x',
    ].map(value => `Connection: ${value}`),
    'content-length:5', 'Content-Length : 5', 'Content-Length\t: 5', ' Content-Length: 5', 'Content_Length: 5', 'Content-Length\0: 5',
    'transfer-encoding:chunked', 'Transfer-Encoding : chunked', 'Transfer_Encoding: chunked', 'Proxy-Connection: close',
    'Keep-Alive: timeout=1', 'Expect: 100-continue', 'Expect: 200-ok', 'Expect:', 'Upgrade: h2c', 'Host: a.example', 'Host : b', 'Host:',
    'Host: b', 'host: [::1]:80', 'Host: a.example ', 'Host: a, b', 'Host\0: b', 'X-Host: b', 'Trailer: Content-Length', ': x', 'x', 'A:',
    'A:  ', 'A: \xfc', 'A: \xa0x\xa0',
  ],
  requestLines: [
    ...[
      '', '*', '*x', '*?x', 'x', '?x', '/#x', '/?#x#y?z', '//x//y', '/../..', '/\xe9', '/?\xe9', '/"<>^`{|}\\', '/?"<>^`{|}\\', '/\x7f',
      '/\x0c', '/ x', '/ HTTP/1.1', 'http://a.example', 'http://a.example?x', 'HTTPS://A.Example:80/', 'ftp://a.example/', 'a.example:1',
      'http://u:p@a.example/', 'http:///x', 'http:/x', 'http://[::1]/', 'http://a^b/', 'http://a.example#x', '[::1]:1', '/a%00%zz',
    ].map(target => `GET ${target} HTTP/1.1`),
    ...[
      'HTTP/1.0', 'HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'http/1.1', 'HTTP/1', 'HTTP/11', 'HTTP/1.10', 'HTTP/1.01', 'HTTP/01.1', 'HTTP /1.1',
      'HTTP/1.1.1', 'HTTP/ 1.1', 'HTTP/1,1', 'HTTP/1.1 ', 'HTTP/1.1\t', ' HTTP/1.1', 'ICE/1.0', 'RTSP/1.0', '',
    ].map(version => `GET / ${version}`),
    'GET\t/ HTTP/1.1', 'GET /\tHTTP/1.1', ' GET / HTTP/1.1', 'get / HTTP/1.1', 'GETS / HTTP/1.1', 'GE / HTTP/1.1', 'GET:/ HTTP/1.1', 'GET',
    'PRI * HTTP/2.0', 'PRI / HTTP/1.1', 'SOURCE / HTTP/1.1', 'DESCRIBE / RTSP/1.0', 'M-SEARCH * HTTP/1.1', 'QUERY /q HTTP/1.1', '',
    'TRACE / HTTP/1.1', 'PURGE /x HTTP/1.0', 'CONNECT a.example:1 HTTP/1.1', 'CONNECT / HTTP/1.1', 'CONNECT http://a/ HTTP/1.1',
    'CONNECT [::1]:1 HTTP/1.0', 'HTTP/1.1 200 OK', '\x16\x03\x01', '\r\nGET / HTTP/1.1',
  ],
  sizes: [
    '0', '00', '000000', '00000000000000', '000000000000005', '5', '05', '+5', '-5', '0x5', '5 ', ' 5', '5\t', '5;', '5;;', '5;a', '5 ;a',
    '5;a=', '5;=b', '5;a=b;c', '5;a="', '5;a="b', '5;a="\\""', '5;a="b";c', '5;a="b"c', '5; a', '5;a =b', '5;\xff', '5;a,b', '5,5', '5\n',
    'g', '', 'FFFFFFFFFFFFFFFF', '10000000000000005', '7fffffffffffffff', '20000000000000', '1F', '0;a', '0;a="\r"', '5\r', '5;a\n', '5_', '5:',
  ],
}
type Random = (below: number) => number

function mulberry32(seed: number): Random {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const MUTATIONS: readonly ((text: string, random: Random) => string)[] = [
  // A byte becomes another, or is left out.
  (text, random) => replace(text, random(text.length), 1, String.fromCharCode(random(256))),
  (text, random) => swap(text, /./gs, random, byte => String.fromCharCode(byte.charCodeAt(0) ^ (1 << random(8)))),
  (text, random) => replace(text, random(text.length), 1 + random(3), ''),
  (text, random) => replace(text, random(text.length), 0, any(WORDS.anywhere, random)),
  (text, random) => replace(text, random(text.length), 1, any(WORDS.anywhere, random)),
  // Another end of a line, or something before or behind it.
  (text, random) => swap(text, /\r\n/g, random, () => any(WORDS.lineEnds, random)),
  (text, random) => swap(text, /(?=\r\n)/g, random, () => any(WORDS.anywhere, random)),
  (text, random) => swap(text, /(?<=\r\n)/g, random, () => any(WORDS.anywhere, random)),
  // A line twice, or anywhere; a field more; in a trailer section, too.
  (text, random) => swap(text, /.+\r\n/g, random, line => line + line),
  (text, random) => replace(text, random(text.length), 0, any(text.split(/(?<=\r\n)/), random)),
  (text, random) => swap(text, /(?<=\r\n)/g, random, () => `${any(WORDS.fields, random)}\r\n`),
  (text, random) => swap(text, /(?<=HTTP\/1\.\d\r\n)/g, random, () => `${any(WORDS.fields, random)}\r\n`),
  (text, random) => swap(text, /(?:Co|Tr)[a-z]+-?[^\r\n]*/g, random, () => any(WORDS.fields, random)),
  (text, random) => swap(text, /[^\r\n]+HTTP\/1[^\r\n]*/g, random, () => any(WORDS.requestLines, random)),
  // Another number.
  (text, random) => swap(text, /(?<=\r\n)[0-9A-Fa-f]+(;[^\r\n]*)?(?=\r\n)/g, random, () => any(WORDS.sizes, random)),
  (text, random) => swap(text, /\d+/g, random, () => `${random(50)}`),
  // One message grows into another, or another follows.
  (text, random) => text.slice(0, random(text.length)) + any(CORPUS, random),
  (text, random) => text + any(CORPUS, random),
]

function replace(text: string, at: number, length: number, by: string): string {
  return text.slice(0, at) + by + text.slice(at + length)
}

/** One of the places of this kind becomes another. */
function swap(text: string, places: RegExp, random: Random, change: (found: string) => string): string {
  const found = [...text.matchAll(places)]
  const place = found[random(Math.max(1, found.length))]
  return place === undefined ? text : replace(text, place.index, place[0].length, change(place[0]))
}

function any<T>(list: readonly T[], random: Random): T {
  return list[random(list.length)] as T
}

// ---- the comparison ----

interface Explained {
  readonly why: string
  /** What Node is given instead of a message's text: it must read the same messages there. */
  readonly rewrite: (text: string, message: Message) => string
  /** What it must read there. */
  readonly messages: (ours: readonly Message[]) => readonly Message[]
}

const each =
  (change: (message: Message) => Partial<Message>): Explained['messages'] =>
  ours =>
    ours.map(message => ({ ...message, ...change(message) }))
const trimmed = (text: string): string => text.replace(/[\t ]+$/, '')
const withoutProxy = (text: string): string => text.replace(/Proxy-Connection/gi, 'Proxy_Connection')
/** The options of a Connection field, as RFC 9110 has them. */
const plainly = (field: string, i: number, fields: readonly string[]): string =>
  i % 2 === 1 && /^connection$/i.test(fields[i - 1] ?? '') ? field.replace(/[\t\xa0]/g, ' ').trim() : field
/** CONNECT is answered 405, whatever it asks for. */
const relayed = (method: string, target: string): string =>
  method === 'CONNECT' ? 'a.example:1' : (readTarget(target)?.target ?? '/refused')

/** Where ours accepts what Node does not, or reads it otherwise, and why that is safe. */
const EXPLAINED: readonly Explained[] = [
  {
    why: 'an extension of a chunk that is none in the grammar of RFC 9112: it is passed over up to its CRLF, and not relayed',
    rewrite: text => text.replace(/(?<=\r\n[0-9A-Fa-f]{1,14});[^\r\n]*/g, ''),
    messages: ours => ours,
  },
  {
    why: 'a tab at the end of a value stays there: nothing that frames is read from such a value, and it is relayed as it is',
    rewrite: text => text,
    messages: each(({ fields, trailers }) => ({ fields: fields.map(trimmed), trailers: trailers.map(trimmed) })),
  },
  {
    why: 'a target of bytes that none has: it ends at the same space, and of it only the path is relayed that `readTarget` makes',
    rewrite: (text, { method, target }) =>
      text.replace(`${method} ${target}`, () => `${method} ${relayed(method, target)}`),
    messages: each(({ method, target }) => ({ target: relayed(method, target) })),
  },
  {
    why: 'a tab at an option of Connection is no part of it; to Node the option is another one, and what is at a no-break space spoils the next field',
    rewrite: text => text.replace(/(?<=\r\nConnection:[^\r\n]*)[\t\xa0]/gi, ' '),
    messages: each(({ fields }) => ({ fields: fields.map(plainly) })),
  },
  {
    why: 'close beside keep-alive, in HTTP/1.0: close counts (RFC 9112 section 9.3); to Node it does not',
    rewrite: text => text,
    messages: ours => (/"1\.0".*keep-alive/i.test(JSON.stringify(ours.at(-1))) ? [...ours, ...NEXT] : ours),
  },
  {
    why: 'Proxy-Connection says nothing (RFC 9112 appendix C.2.2); to Node it is Connection',
    rewrite: withoutProxy,
    messages: each(({ fields, body, trailers }) => ({
      fields: fields.map(withoutProxy),
      body: withoutProxy(body),
      trailers: trailers.map(withoutProxy),
    })),
  },
]

const ALL_OF_THEM: Explained = {
  why: 'several of these at once',
  rewrite: (text, message) => EXPLAINED.reduce((rewritten, { rewrite }) => rewrite(rewritten, message), text),
  messages: ours => EXPLAINED.reduce((reduced, { messages }) => messages(reduced), ours),
}
const AS_IT_IS: Explained = { why: '', rewrite: text => text, messages: ours => ours }

const NEXT = readByUs([NEXT_BYTES]).messages

/** What ours has read, and what Node reads of the same bytes; `early`: of a byte less. */
class Pair {
  readonly #ours: readonly Message[]
  readonly #whole: number
  readonly #node: NodesServer
  readonly #early: NodesServer

  constructor(text: string, { messages, ends, goesOn }: Accepted, { rewrite, messages: ours }: Explained) {
    this.#ours = ours(goesOn ? [...messages, ...NEXT] : messages)
    const rewritten = messages.map((message, i) => rewrite(text.slice(ends[i - 1] ?? 0, ends[i]), message))
    const bytes = Buffer.from(rewritten.join(''), 'latin1')
    this.#whole = messages.length
    this.#node = new NodesServer(Buffer.concat([bytes, NEXT_BYTES]))
    this.#early = new NodesServer(bytes.subarray(0, -1))
  }

  /** undefined: both have read the same messages, and seen their end at the same place */
  get difference(): string | undefined {
    if (this.#early.messages.length >= this.#whole) return 'to Node it is over before'
    const { messages, error } = this.#node
    if (isDeepStrictEqual(messages, this.#ours)) return undefined
    return `Node has ${JSON.stringify(messages)} ${error}, and not ${JSON.stringify(this.#ours)}`
  }
}

test(`${REQUESTS} mutated requests: what our reader accepts is to Node the same messages with the same ends`, async () => {
  const random = mulberry32(SEED)
  const counts = new Map<string, number>()
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1)
  const settle = async (): Promise<void> => {
    for (let turns = 0; turns < 3; turns++) await turn()
  }
  for (let done = 0; done < REQUESTS; done += BATCH) {
    const batch: { text: string; accepted: Accepted; pair: Pair }[] = []
    for (let i = 0; i < BATCH; i++) {
      let text = any(CORPUS, random)
      for (let n = 1 + random(3); n > 0 && text !== ''; n--) text = any(MUTATIONS, random)(text, random)
      const bytes = Buffer.from(text, 'latin1')
      const accepted = readByUs([bytes])
      const cut = random(bytes.length + 1)
      const inTwo = readByUs([bytes.subarray(0, cut), bytes.subarray(cut)])
      assert.deepEqual(inTwo, accepted, `cut at ${cut}: ${JSON.stringify(text)}`)
      if (accepted.messages.length === 0) continue
      count(accepted.messages.length === 1 ? 'one' : 'several')
      batch.push({ text, accepted, pair: new Pair(text, accepted, AS_IT_IS) })
    }
    await settle()
    for (const { text, accepted, pair } of batch) {
      const { difference } = pair
      if (difference === undefined) continue
      const attempts = [...EXPLAINED, ALL_OF_THEM].map(it => ({ ...it, pair: new Pair(text, accepted, it) }))
      await settle()
      const explained = attempts.find(attempt => attempt.pair.difference === undefined)
      assert.ok(explained, `${JSON.stringify(text)}: ${difference}`)
      count(explained.why)
    }
  }
  assert.ok((counts.get('one') ?? 0) > REQUESTS / 6, 'the mutations are too wild')
  assert.ok((counts.get('several') ?? 0) > REQUESTS / 50, 'too few of them come one behind the other')
  for (const { why } of EXPLAINED) assert.ok(counts.has(why), `no longer a difference: ${why}`)
})
