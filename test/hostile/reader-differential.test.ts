/**
 * The reader of responses against Node's own (llhttp), on mutated responses: what ours accepts as a whole message must
 * be the same message to Node, with the same status, fields, body and trailer fields, and end at the same byte. Ours may
 * refuse more. Both get the bytes without a socket, so a run is the same every time.
 */
import assert from 'node:assert/strict'
import { type IncomingMessage, request } from 'node:http'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { hasForbiddenTrailer } from '../../src/exchange/trailers.ts'
import { NOT_HTTP } from '../../src/http1/fields.ts'
import type { UpstreamHead } from '../../src/http1/response-head.ts'
import { ResponseReader } from '../../src/http1/response-reader.ts'

const SEED = 20261120
const MESSAGES = 40_000
const BATCH = 200

/** One message as a reader has understood it. */
interface Message {
  readonly interims: readonly number[]
  readonly status: number
  readonly fields: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
}

interface Accepted {
  readonly message: Message
  /** The bytes that it is made of. */
  readonly bytes: Buffer
  /** Only the end of the connection ends it. */
  readonly toEnd: boolean
}

/** As a connection reads, and an exchange judges it. @returns undefined: it is none, or not whole */
function readByUs(pieces: readonly Buffer[], method: string): Accepted | undefined {
  const interims: number[] = []
  let head: UpstreamHead | undefined
  let body = ''
  const reader = new ResponseReader({
    interim: status => interims.push(status),
    head: it => {
      head = it
    },
    data: chunk => {
      body += chunk.toString('latin1')
    },
  })
  reader.expect(method, false)
  let consumed = 0
  try {
    for (const piece of pieces) if (!reader.idle) consumed += reader.read(piece)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, NOT_HTTP)
    return undefined
  }
  const toEnd = !reader.idle
  if (head === undefined || !reader.finish() || hasForbiddenTrailer(reader.trailers)) return undefined
  const message = { interims, status: head.status, fields: head.fields.flat(), body, trailers: reader.trailers }
  return { message, bytes: Buffer.concat(pieces).subarray(0, consumed), toEnd }
}

/** Node's client on a connection of memory. Judged when all its ticks are over: `seen` may change until then. */
class NodesClient {
  readonly #interims: number[] = []
  #response: IncomingMessage | undefined
  #body = ''
  #ended = false
  error = ''

  constructor(bytes: Buffer, method: string, end: boolean) {
    const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
    socket.push(bytes)
    if (end) socket.push(null)
    const asked = request({ method, createConnection: () => socket, maxHeaderSize: 1 << 20 })
    asked.on('information', ({ statusCode }) => this.#interims.push(statusCode))
    asked.on('response', response => {
      this.#response = response
      response.setEncoding('latin1')
      response.on('data', chunk => {
        this.#body += chunk
      })
      response.on('end', () => {
        this.#ended = true
      })
      response.on('error', ({ message }) => {
        this.error = message
      })
    })
    asked.on('error', ({ message }) => {
      this.error = message
    })
    asked.on('upgrade', () => {
      this.error = 'an upgrade'
    })
    asked.end()
  }

  /** undefined: no message, or not whole. */
  get message(): Message | undefined {
    const response = this.#response
    if (response === undefined || !response.complete || !this.#ended) return undefined
    return {
      interims: this.#interims,
      status: response.statusCode ?? 0,
      fields: response.rawHeaders,
      body: this.#body,
      trailers: response.rawTrailers,
    }
  }
}

// ---- the messages ----

const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const CORPUS = [
  `${OK}Content-Length: 5\r\nX: y\r\n\r\nhello`,
  `${OK}Content-Length: 0\r\nConnection: close\r\n\r\n`,
  `${OK}Content-Length: 12\r\n\r\nhello\r\nworld`,
  `${OK}X: y\r\n\r\nhello`,
  `HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello`,
  `HTTP/1.0 200 OK\r\n\r\nhello`,
  `${OK}${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`,
  `${OK}${CHUNKED}\r\n1\r\na\r\n0A\r\n0123456789\r\n0\r\n\r\n`,
  `${OK}${CHUNKED}\r\n5;a=b\r\nhello\r\n1;c="d e"\r\n!\r\n0;f\r\n\r\n`,
  `${OK}Trailer: X-Sum\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: z\r\n\r\n`,
  `${OK}${CHUNKED}\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n`,
  `HTTP/1.1 204 No Content\r\nX: y\r\n\r\n`,
  `HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n`,
  `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}Content-Length: 5\r\n\r\nhello`,
  `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${OK}${CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n`,
  `HTTP/1.1 404 Not Found\r\nKeep-Alive: timeout=5\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nno`,
  `HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n`,
  `HTTP/1.1 500\r\nContent-Length: 1\r\n\r\n!`,
  `${OK}Content-Length: 5\r\n\r\nhello${OK}Content-Length: 5\r\n\r\nworld`,
]

/** What makes readers disagree, to be put anywhere. */
// biome-ignore format: a list of bytes
const BITS = [
  '\r', '\n', '\r\n', '\r\n\r\n', '\n\n', '\r\r\n', '\n\r', ' ', '\t', '\0', '\x0b', '\x0c', '\x7f', '\x80', '\xa0', '\xff',
  ':', ';', ',', '"', '\\', '-', '+', '_', '=', '0', '5', 'a', '0x', '\r\n ', '\r\n\t',
]
/** Fields that frame, or nearly. */
// biome-ignore format: a list of fields
const FIELDS = [
  'Content-Length: 5', 'Content-Length: 3', 'content-length:5', 'Content-Length: 05', 'Content-Length: +5', 'Content-Length: -5',
  'Content-Length: 5, 5', 'Content-Length: 0x5', 'Content-Length: 5 ', 'Content-Length: 5\t', 'Content-Length:\t5',
  'Content-Length: 5;', 'Content-Length: 5 5', 'Content-Length:', 'Content-Length: 18446744073709551621', 'Content-Length: 5e0',
  'Content-Length : 5', 'Content-Length\t: 5', ' Content-Length: 5', 'Content_Length: 5', 'Content-Length\0: 5', 'Content-Length: 5\0',
  'Transfer-Encoding: chunked', 'transfer-encoding:chunked', 'Transfer-Encoding: CHUNKED', 'Transfer-Encoding: chunked ',
  'Transfer-Encoding: chunked\t', 'Transfer-Encoding:\tchunked', 'Transfer-Encoding: chunked,', 'Transfer-Encoding: ,chunked',
  'Transfer-Encoding: chunked, chunked', 'Transfer-Encoding: gzip, chunked', 'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity', 'Transfer-Encoding: xchunked', 'Transfer-Encoding: chunkedx', 'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: chunked;q=1', 'Transfer-Encoding:', 'Transfer-Encoding : chunked', 'Transfer_Encoding: chunked',
  'Transfer-Encoding: \x0bchunked', 'Transfer-Encoding:\r\n chunked', 'Connection: close', 'Connection: keep-alive',
  'Connection: upgrade', 'Connection: upgrade\r\nUpgrade: h2c', 'Connection: content-length', 'Connection: transfer-encoding',
  'Upgrade: h2c', 'Trailer: Content-Length', 'Keep-Alive: timeout=1', ': x', 'x', 'A:', 'A:  ', 'A: \xfc',
]
// biome-ignore format: a list of lines
const STATUS_LINES = [
  'HTTP/1.1 200', 'HTTP/1.1 200 ', 'HTTP/1.1  200 OK', 'HTTP/1.1 200  OK', 'HTTP/1.1 200OK', 'HTTP/1.1 20 OK', 'HTTP/1.1 2000 OK',
  'HTTP/1.1\t200 OK', 'HTTP/1.0 200 OK', 'HTTP/1.2 200 OK', 'HTTP/0.9 200 OK', 'HTTP/2.0 200 OK', 'HTTP/2 200', 'HTTP/11 200 OK',
  'http/1.1 200 OK', 'ICY 200 OK', 'RTSP/1.0 200 OK', ' HTTP/1.1 200 OK', '\r\nHTTP/1.1 200 OK', 'HTTP/1.1 100 Continue',
  'HTTP/1.1 101 x', 'HTTP/1.1 199 x', 'HTTP/1.1 204 x', 'HTTP/1.1 304 x', 'HTTP/1.0 204 x', 'HTTP/1.1 099 x', 'HTTP/1.1 000 x',
  'HTTP/1.1 599 x', 'HTTP/1.1 600 x', 'HTTP/1.1 999 x', 'HTTP/1.1 -20 x', 'HTTP/1.1 2 0 x', 'HTTP/1.1 200\tOK', 'HTTP/1.1 200 \xff\t',
  'HTTP/1.1 200 O\0K', 'HTTP/1.1 200 O\x7fK', 'HTTP/1.01 200 OK', 'HTTP/1.1.1 200 OK', 'HTTP /1.1 200 OK', 'HTTP/1.0 103 x',
]
// biome-ignore format: a list of sizes
const SIZES = [
  '0', '00', '000000', '00000000000000', '000000000000005', '5', '05', '+5', '-5', '0x5', '5 ', ' 5', '5\t', '5;', '5;;', '5;a', '5 ;a',
  '5;a=', '5;=b', '5;a=b;c', '5;a="', '5;a="b', '5;a="\\""', '5;a="b";c', '5;a="b"c', '5; a', '5;a =b', '5;\xff', '5;a,b', '5,5', '5\n', 'g',
  '', 'FFFFFFFFFFFFFFFF', '10000000000000005', '7fffffffffffffff', '20000000000000', '1F', '0;a', '0;a="\r"', '5\r', '5;a\n', '5_', '5:',
]

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
  (text, random) => {
    const at = random(text.length)
    return replace(text, at, 1, String.fromCharCode(text.charCodeAt(at) ^ (1 << random(8))))
  },
  (text, random) => replace(text, random(text.length), 1 + random(3), ''),
  (text, random) => replace(text, random(text.length), 0, any(BITS, random)),
  (text, random) => replace(text, random(text.length), 1, any(BITS, random)),
  // Another end of a line, or something before or behind it.
  (text, random) =>
    atLine(
      text,
      random,
      2,
      any(['\n', '\r', '\r\r\n', '\n\r', ' \r\n', '\t\r\n', '\0\r\n', '\r\n\r\n', '\r\n '], random),
    ),
  (text, random) => atLine(text, random, 0, any(BITS, random)),
  (text, random) => atLine(text, random, 2, `\r\n${any(BITS, random)}`),
  // A field more; in a trailer section, too.
  (text, random) => atLine(text, random, 2, `\r\n${any(FIELDS, random)}\r\n`),
  (text, random) => atFirstLine(text, line => `${line}\r\n${any(FIELDS, random)}`),
  (text, random) => text.replace(/(?:Content-Length|Transfer-Encoding)[^\r\n]*/, () => any(FIELDS, random)),
  (text, random) => atFirstLine(text, () => any(STATUS_LINES, random)),
  (text, random) => {
    const sizes = [...text.matchAll(/(?<=\r\n)[0-9A-Fa-f]+(?:;[^\r\n]*)?(?=\r\n)/g)]
    const size = sizes[random(Math.max(1, sizes.length))]
    return size === undefined ? text : replace(text, size.index, size[0].length, any(SIZES, random))
  },
  // One message grows into another.
  (text, random) => text.slice(0, random(text.length)) + any(CORPUS, random),
  (text, random) => {
    const from = random(text.length)
    return replace(text, random(text.length), 0, text.slice(from, from + random(40)))
  },
]

function replace(text: string, at: number, length: number, by: string): string {
  return text.slice(0, at) + by + text.slice(at + length)
}

function any<T>(list: readonly T[], random: Random): T {
  return list[random(list.length)] as T
}

/** At the end of any line: `length` bytes there become `by`. */
function atLine(text: string, random: Random, length: number, by: string): string {
  const ends = [...text.matchAll(/\r\n/g)]
  const end = ends[random(Math.max(1, ends.length))]
  return end === undefined ? text : replace(text, end.index, length, by)
}

function atFirstLine(text: string, change: (line: string) => string): string {
  const end = text.indexOf('\r\n')
  return end === -1 ? text : change(text.slice(0, end)) + text.slice(end)
}

// ---- the comparison ----

interface Explained {
  readonly why: string
  /** What Node is given instead: it must read the same message there. */
  readonly rewrite: (text: string) => string
  /** What it must read there. */
  readonly message: (ours: Message) => Message
}

/** Where ours accepts what Node does not, or reads it otherwise, and why that is safe. */
const EXPLAINED: readonly Explained[] = [
  {
    why: 'an extension of a chunk that is none in the grammar of RFC 9112: it is passed over up to its CRLF, and not relayed',
    rewrite: text => text.replace(/(?<=\r\n[0-9A-Fa-f]{1,14});[^\r\n]*/g, ''),
    message: ours => ours,
  },
  {
    why: 'a tab at the end of a value stays there: nothing that frames is read from such a value, and it is relayed as it is',
    rewrite: text => text,
    message: ours => ({ ...ours, fields: trimmed(ours.fields), trailers: trimmed(ours.trailers) }),
  },
  {
    why: 'an interim response of HTTP/1.0, or with Connection: close, says nothing of the final one, which Node refuses behind it',
    rewrite: text => text.replace(/^(?:HTTP\/1\.[01] 1\d\d.*?\r\n\r\n)+/s, ''),
    message: ours => ({ ...ours, interims: [] }),
  },
]

const ALL_OF_THEM: Explained = {
  why: 'several of these at once',
  rewrite: text => EXPLAINED.reduce((rewritten, { rewrite }) => rewrite(rewritten), text),
  message: ours => EXPLAINED.reduce((reduced, { message }) => message(reduced), ours),
}
const ATTEMPTS = [...EXPLAINED, ALL_OF_THEM]

function trimmed(fields: readonly string[]): string[] {
  return fields.map(field => field.replace(/[\t ]+$/, ''))
}

/** Our message and Node's of the same bytes; `early`: of a byte less, or before the connection has ended. */
class Pair {
  readonly ours: Message
  readonly #node: NodesClient
  readonly #early: NodesClient

  constructor({ message, bytes, toEnd }: Accepted, method: string) {
    this.ours = message
    this.#node = new NodesClient(bytes, method, toEnd)
    this.#early = new NodesClient(toEnd ? bytes : bytes.subarray(0, -1), method, false)
  }

  /** undefined: both have read the same message, and seen its end at the same place */
  get difference(): string | undefined {
    if (this.#early.message !== undefined) return 'to Node it is over before'
    if (isDeepStrictEqual(this.#node.message, this.ours)) return undefined
    return `Node has ${JSON.stringify(this.#node.message)} ${this.#node.error}`
  }
}

async function compare(messages: number, seed: number): Promise<Map<string, number>> {
  const random = mulberry32(seed)
  const counts = new Map<string, number>([['accepted', 0]])
  const count = (what: string): void => {
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  const settle = async (): Promise<void> => {
    for (let turns = 0; turns < 3; turns++) await turn()
  }
  for (let done = 0; done < messages; done += BATCH) {
    const batch: { pair: Pair; accepted: Accepted; method: string; text: string }[] = []
    for (let i = 0; i < BATCH; i++) {
      let text = any(CORPUS, random)
      for (let n = 1 + random(3); n > 0 && text !== ''; n--) text = any(MUTATIONS, random)(text, random)
      const method = random(8) === 0 ? 'HEAD' : 'GET'
      const bytes = Buffer.from(text, 'latin1')
      const accepted = readByUs([bytes], method)
      const cut = random(bytes.length + 1)
      const inTwo = readByUs([bytes.subarray(0, cut), bytes.subarray(cut)], method)
      assert.deepEqual(inTwo, accepted, `cut at ${cut}: ${JSON.stringify(text)}`)
      if (accepted === undefined) continue
      count('accepted')
      batch.push({ pair: new Pair(accepted, method), accepted, method, text })
    }
    await settle()
    const explaining: { pairs: Pair[]; difference: string; method: string; text: string }[] = []
    for (const { pair, accepted, method, text } of batch) {
      const { difference } = pair
      if (difference === undefined) continue
      const pairs = ATTEMPTS.map(({ rewrite, message }) => {
        const bytes = Buffer.from(rewrite(accepted.bytes.toString('latin1')), 'latin1')
        return new Pair({ ...accepted, bytes, message: message(accepted.message) }, method)
      })
      explaining.push({ pairs, difference, method, text })
    }
    await settle()
    for (const { pairs, difference, method, text } of explaining) {
      const why = ATTEMPTS[pairs.findIndex(pair => pair.difference === undefined)]?.why
      assert.ok(why !== undefined, `${method}, seed ${seed}: ${JSON.stringify(text)}: ${difference}`)
      count(why)
    }
  }
  return counts
}

test(`${MESSAGES} mutated responses: what our reader accepts is to Node the same message with the same end`, async () => {
  const counts = await compare(MESSAGES, SEED)
  assert.ok((counts.get('accepted') ?? 0) > MESSAGES / 10, 'the mutations are too wild')
  for (const { why } of EXPLAINED) assert.ok(counts.has(why), `no longer a difference: ${why}`)
})
