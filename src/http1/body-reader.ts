/**
 * Reads one body off its bytes, in each of the framings of HTTP/1 (RFC 9112 sections 6 and 7), and the trailer fields
 * behind it. Bytes in, pieces out; it knows neither sockets nor time.
 */
import { CR, LF, notHttp, parseFields, TAB } from './fields.ts'
import { Partial } from './partial.ts'

export interface BodyEvents {
  /** A piece of the body: a view of what was read. */
  data(chunk: Buffer): void
}

/** How long a trailer section may be. */
export interface MostTrailers {
  readonly bytes: number
  readonly fields: number
}

/** Of the line that begins a chunk: Node's bound on chunk extensions (CVE-2024-22019). */
const MAX_CHUNK_LINE_BYTES = 16 * 1024

const QUOTE = 34
const SEMICOLON = 59
const BACKSLASH = 92

/** What the next byte belongs to. */
const NOTHING = 0
const LENGTH = 1
const TO_END = 2
const CHUNK_LINE = 3
const CHUNK = 4
const AFTER_CHUNK = 5
const TRAILERS = 6

const NO_FIELDS: readonly string[] = []

export class BodyReader {
  /** The trailer fields of the body that has ended, flat. */
  trailers = NO_FIELDS
  readonly #events: BodyEvents
  readonly #mostTrailers: MostTrailers
  readonly #partial = new Partial()
  #state = NOTHING
  /** Bytes of the body, or of the chunk, that are still to come. */
  #left = 0

  constructor(events: BodyEvents, mostTrailers: MostTrailers) {
    this.#events = events
    this.#mostTrailers = mostTrailers
  }

  /** No body is being read. */
  get over(): boolean {
    return this.#state === NOTHING
  }

  beginLength(bytes: number): void {
    this.#begin(LENGTH)
    this.#left = bytes
  }

  beginChunked(): void {
    this.#begin(CHUNK_LINE)
  }

  /** All that comes. */
  beginToEnd(): void {
    this.#begin(TO_END)
  }

  /** Nobody wants the rest, nor knows of what was. */
  reset(): void {
    this.#begin(NOTHING)
    this.#partial.forget()
  }

  /** The sender has sent all that it will. @returns whether the body is whole with that */
  finish(): boolean {
    const whole = this.#state === TO_END || this.#state === NOTHING
    this.#state = NOTHING
    return whole
  }

  /**
   * @returns where the bytes go on behind the body, or behind all of `bytes`
   * @throws an error with the code `NOT_HTTP`
   */
  read(bytes: Buffer, from: number): number {
    let at = from
    while (at < bytes.length && this.#state !== NOTHING) {
      switch (this.#state) {
        case LENGTH:
        case CHUNK: {
          const end = Math.min(bytes.length, at + this.#left)
          this.#left -= end - at
          if (this.#left === 0) this.#state = this.#state === CHUNK ? AFTER_CHUNK : NOTHING
          this.#events.data(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
          at = end
          break
        }
        case TO_END:
          this.#events.data(at === 0 ? bytes : bytes.subarray(at))
          at = bytes.length
          break
        case CHUNK_LINE:
          at = this.#readChunkLine(bytes, at)
          break
        case AFTER_CHUNK:
          at = this.#readAfterChunk(bytes, at)
          break
        default:
          at = this.#readTrailers(bytes, at)
      }
    }
    return at
  }

  #begin(state: number): void {
    this.#state = state
    this.#left = 0
    this.trailers = NO_FIELDS
  }

  /** `1a;name=value CRLF`: the size in hexadecimal, and extensions, which nobody uses. */
  #readChunkLine(bytes: Buffer, from: number): number {
    const partial = this.#partial
    const lf = bytes.indexOf(LF, from)
    const end = lf === -1 ? bytes.length : lf + 1
    if (partial.length === 0 && lf !== -1) {
      this.#chunk(bytes, from, end)
      return end
    }
    partial.add(bytes, from, end)
    if (partial.length > MAX_CHUNK_LINE_BYTES) throw notHttp('a chunk extension without end')
    if (lf === -1) {
      if (sizeEnd(partial.bytes, 0, partial.length) === -1) throw badChunk()
      return end
    }
    const { bytes: line, length } = partial
    partial.forget()
    this.#chunk(line, 0, length)
    return end
  }

  /** @param end behind the LF of the line */
  #chunk(bytes: Buffer, from: number, end: number): void {
    if (end - from > MAX_CHUNK_LINE_BYTES) throw notHttp('a chunk extension without end')
    const digitsEnd = sizeEnd(bytes, from, end)
    if (digitsEnd <= from || bytes[end - 2] !== CR || end - 2 < digitsEnd) throw badChunk()
    let size = 0
    for (let i = from; i < digitsEnd; i++) size = size * 16 + hexOf(bytes[i] as number)
    if (size > Number.MAX_SAFE_INTEGER) throw badChunk()
    // RFC 9112 section 7.1.1 lets a recipient put up with blanks before an extension: nobody sends them in good faith.
    if (digitsEnd !== end - 2 && bytes[digitsEnd] !== SEMICOLON) throw badChunk()
    if (!isExtension(bytes, digitsEnd, end - 2)) throw badChunk()
    this.#left = size
    this.#state = size === 0 ? TRAILERS : CHUNK
  }

  #readAfterChunk(bytes: Buffer, from: number): number {
    let at = from
    if (this.#left === 0) {
      if (bytes[at] !== CR) throw badChunk()
      // Of the two bytes, one is still to come.
      this.#left = -1
      at++
    }
    if (at === bytes.length) return at
    if (bytes[at] !== LF) throw badChunk()
    this.#left = 0
    this.#state = CHUNK_LINE
    return at + 1
  }

  #readTrailers(bytes: Buffer, from: number): number {
    const partial = this.#partial
    // The usual: none.
    if (partial.length === 0 && bytes[from] === CR && bytes[from + 1] === LF) {
      this.#state = NOTHING
      return from + 2
    }
    let at = from
    while (at < bytes.length) {
      const lf = bytes.indexOf(LF, at)
      const end = lf === -1 ? bytes.length : lf + 1
      partial.add(bytes, at, end)
      at = end
      if (partial.length > this.#mostTrailers.bytes) {
        throw notHttp(`a trailer section of more than ${this.#mostTrailers.bytes} bytes`)
      }
      if (lf === -1) break
      const { length, bytes: section } = partial
      const crAt = length - 2
      // The only CR of a line is in its end.
      const lineAt = crAt < 0 ? 0 : section.lastIndexOf(LF, crAt) + 1
      if (crAt < 0 || section.indexOf(CR, lineAt) !== crAt) throw notHttp('a line that does not end in CRLF')
      if (length - lineAt > 2) continue
      const text = partial.text(0, length - 2)
      partial.forget()
      this.#state = NOTHING
      this.trailers = parseFields(text, 0, this.#mostTrailers.fields).flat()
      break
    }
    return at
  }
}

function badChunk(): Error {
  return notHttp('not a chunk')
}

/** Where the digits of a chunk's size end; -1: there are none, or more than a size can have. */
function sizeEnd(bytes: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && hexOf(bytes[at] as number) !== -1) at++
  // 14 digits hold 2^56.
  return (at === from && at < end) || at - from > 14 ? -1 : at
}

/** No control characters, and no quoted string that does not end (RFC 9112 section 7.1.1): its end could be in the next line. */
function isExtension(bytes: Buffer, from: number, end: number): boolean {
  let quoted = false
  for (let at = from; at < end; at++) {
    const byte = bytes[at] as number
    if ((byte < 32 && byte !== TAB) || byte === 127) return false
    if (byte === QUOTE) quoted = !quoted
    else if (quoted && byte === BACKSLASH) at++
  }
  return !quoted
}

function hexOf(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const lower = byte | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}
