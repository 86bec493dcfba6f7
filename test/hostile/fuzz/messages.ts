/**
 * Messages that are nearly well: a valid request or response, and a few wounds. A generator of random bytes would never
 * get past the first line; these get as far as the wound, which is where parsers differ.
 */
import fc from 'fast-check'

/** Stands in a message where its own tag goes; as long as a tag, so that wounds stay where they are. */
export const TAG = '@@@@@@@@@@@@@@@@'

/** One change to the bytes; `at` is a fraction of their length. */
export type Wound =
  | { readonly do: 'insert' | 'replace'; readonly at: number; readonly text: string }
  | { readonly do: 'delete' | 'repeat'; readonly at: number; readonly bytes: number }
  | { readonly do: 'flip'; readonly at: number; readonly bit: number }
  | { readonly do: 'line'; readonly at: number; readonly text: string }

/** One connection's worth of bytes from a client. */
export interface Attack {
  readonly text: string
  readonly wounds: readonly Wound[]
  /** Where the bytes are cut into segments, as fractions. */
  readonly cuts: readonly number[]
  readonly leave: 'wait' | 'fin' | 'rst'
}

/** An answer of an upstream. */
export interface Answer {
  readonly text: string
  readonly wounds: readonly Wound[]
  readonly cuts: readonly number[]
  readonly close: boolean
}

/** What parsers have stumbled over. */
const WORDS = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\n\n',
  '\r\r\n',
  '\0',
  '\t',
  ' ',
  '\x0b',
  '\x0c',
  '\x7f',
  '\x85',
  '\xa0',
  '\xff',
  ':',
  ';',
  ',',
  '"',
  '0',
  '-',
  '+',
  '0x',
  '\r\n ',
  ' :',
  '\\',
  '/',
  '//',
  '/../',
  '%2f',
  '%00',
  '%2e%2e',
  '#',
  '?',
  '*',
  '0\r\n\r\n',
  '1\r\nx\r\n',
  'ffffffffffffffff',
  '18446744073709551616',
  '; a=b',
  ';a="\r\n"',
  'chunked',
  'identity',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/0.9',
  'HTTP/2.0',
  'RTSP/1.0',
] as const

const LINES = [
  'Content-Length: 0',
  'Content-Length: 5',
  'content-length: 00',
  'Content-Length: 5, 5',
  'Content-Length: +5',
  'Content-Length : 5',
  'Content-Length: 18446744073709551615',
  'Content_Length: 5',
  'Transfer-Encoding: chunked',
  'transfer-encoding: Chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: x',
  'Transfer-Encoding:',
  'Transfer_Encoding: chunked',
  'Transfer-Encoding : chunked',
  ' Transfer-Encoding: chunked',
  'Transfer-Encoding: \x0bchunked',
  'Host: b.example',
  'Host: a b',
  'Host:',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: upgrade',
  'Connection: content-length, host, transfer-encoding, via, x-forwarded-for',
  'Upgrade: h2c',
  'Upgrade: websocket',
  'Expect: 100-continue',
  'Expect: x',
  'Trailer: Host',
  'TE: trailers',
  'Keep-Alive: timeout=5',
  'Via: 1.1 x',
  'X-Forwarded-For: 192.0.2.1',
  'X_Forwarded_For: 192.0.2.1',
  'X-Request-Id: a',
  'Forwarded: for=1',
  ': x',
  'X',
  'X : y',
  'X: \0',
  'X: y\r\n z',
  'HTTP/1.1 200 OK',
  'GET /t/x HTTP/1.1',
  '0',
] as const

/** Evenly: `fc.double` draws evenly from the exponents, so that nearly all of its numbers are nearly 0. */
const anywhere = fc.integer({ min: 0, max: 999_999 }).map(x => x / 1e6)
/** Mostly near the beginning: the first lines decide, and a body may be long. */
const at = fc.oneof(
  anywhere,
  anywhere.map(x => x / 20),
  anywhere.map(x => x ** 3),
)
const wound: fc.Arbitrary<Wound> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('insert', 'replace'), at, text: fc.constantFrom(...WORDS) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('delete', 'repeat'), at, bytes: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flip' as const), at, bit: fc.integer({ min: 0, max: 7 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('line' as const), at, text: fc.constantFrom(...LINES) }) },
)
const wounds = fc.array(wound, { minLength: 1, maxLength: 3, size: 'max' })
const cuts = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(at, { maxLength: 3 }) },
)

const body = fc.constantFrom('', 'hello', TAG, `GET /t/${TAG} HTTP/1.1\r\nHost: a.example\r\n\r\n`, 'x'.repeat(300))

function chunked(text: string, size: number, trailer: string): string {
  let out = ''
  for (let i = 0; i < text.length; i += size) {
    const piece = text.slice(i, i + size)
    out += `${piece.length.toString(16)}\r\n${piece}\r\n`
  }
  return `${out}0\r\n${trailer}\r\n`
}

const framing = fc.constantFrom('none', 'length', 'chunked')
const extra = fc.array(
  fc.constantFrom('Accept: */*', 'Cookie: a=b', 'X-Long: '.padEnd(200, 'y'), 'User-Agent: f', ...LINES.slice(19)),
  {
    maxLength: 3,
  },
)
const trailers = fc.constantFrom('', '', 'X-Sum: 1\r\n', 'Content-Length: 5\r\n', 'Host: b\r\n')

const request = fc
  .record({
    method: fc.constantFrom('GET', 'GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'),
    target: fc.constantFrom(
      `/t/${TAG}`,
      `/t/${TAG}?a=b`,
      `/t/./${TAG}`,
      `/x/../t/${TAG}`,
      `/t//${TAG}`,
      `http://a.example/t/${TAG}`,
    ),
    version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
    framing,
    body,
    extra,
    chunk: fc.constantFrom(1, 5, 1000),
    trailer: trailers,
  })
  .map(({ method, target, version, framing: how, body: text, extra: lines, chunk, trailer }) => {
    const head = [`${method} ${target} HTTP/${version}`, 'Host: a.example', ...lines]
    if (how === 'none') return `${head.join('\r\n')}\r\n\r\n`
    if (how === 'length') return `${head.join('\r\n')}\r\nContent-Length: ${text.length}\r\n\r\n${text}`
    return `${head.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(text, chunk, trailer)}`
  })

export const attack: fc.Arbitrary<Attack> = fc.record({
  text: fc.array(request, { minLength: 1, maxLength: 3 }).map(all => all.join('')),
  wounds,
  cuts,
  leave: fc.constantFrom('wait', 'wait', 'wait', 'fin', 'rst'),
})

const response = fc
  .record({
    interim: fc.constantFrom(
      '',
      '',
      '',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
      'HTTP/1.1 102 Processing\r\n\r\n',
    ),
    status: fc.constantFrom('200 OK', '200 OK', '404 Not Found', '500 x', '204 No Content', '304 Not Modified'),
    version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
    framing,
    body: fc.constantFrom(
      TAG,
      `${TAG}\n`.repeat(200),
      '',
      `HTTP/1.1 200 OK\r\nX-Tag: ${TAG}\r\nContent-Length: 0\r\n\r\n`,
    ),
    extra,
    chunk: fc.constantFrom(1, 7, 1000),
    trailer: trailers,
    behind: fc.constantFrom('', '', '', `HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n${TAG}`),
  })
  .map(({ interim, status, version, framing: how, body: text, extra: lines, chunk, trailer, behind }) => {
    const head = `${interim}${[`HTTP/${version} ${status}`, `X-Tag: ${TAG}`, ...lines].join('\r\n')}\r\n`
    if (how === 'none') return `${head}\r\n${text}`
    if (how === 'length') return `${head}Content-Length: ${text.length}\r\n\r\n${text}${behind}`
    return `${head}Transfer-Encoding: chunked\r\n\r\n${chunked(text, chunk, trailer)}${behind}`
  })

export const answer: fc.Arbitrary<Answer> = fc.record({ text: response, wounds, cuts, close: fc.boolean() })

/** The bytes of a message: its tag put in, then the wounds, in their order. */
export function bytesOf(
  { text, wounds: all }: { readonly text: string; readonly wounds: readonly Wound[] },
  tag: string,
): Buffer {
  let bytes = Buffer.from(text.replaceAll(TAG, tag), 'latin1')
  for (const one of all) bytes = wounded(bytes, one)
  return bytes
}

function wounded(bytes: Buffer<ArrayBuffer>, one: Wound): Buffer<ArrayBuffer> {
  const place = Math.min(bytes.length, Math.floor(one.at * bytes.length))
  const before = bytes.subarray(0, place)
  switch (one.do) {
    case 'insert':
      return Buffer.concat([before, Buffer.from(one.text, 'latin1'), bytes.subarray(place)])
    case 'replace':
      return Buffer.concat([before, Buffer.from(one.text, 'latin1'), bytes.subarray(place + one.text.length)])
    case 'delete':
      return Buffer.concat([before, bytes.subarray(place + one.bytes)])
    case 'repeat':
      return Buffer.concat([before, bytes.subarray(place, place + one.bytes), bytes.subarray(place)])
    case 'flip': {
      const copy = Buffer.from(bytes)
      if (place < copy.length) copy[place] = (copy[place] as number) ^ (1 << one.bit)
      return copy
    }
    case 'line': {
      // Before the line that the place is in, so that it is a field, mostly.
      const start = bytes.lastIndexOf('\r\n', place)
      const cut = start === -1 ? 0 : start + 2
      return Buffer.concat([bytes.subarray(0, cut), Buffer.from(`${one.text}\r\n`, 'latin1'), bytes.subarray(cut)])
    }
  }
}

/** The bytes in the segments they are sent in. */
export function segments(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const ends = [...places.map(place => Math.floor(place * bytes.length)), bytes.length].sort((a, b) => a - b)
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end)).filter(piece => piece.length > 0)
}
