/**
 * Reads the responses of one connection off its bytes: interim heads, the head, the body, the trailer fields, and where
 * the message ends (RFC 9112 sections 6 and 7). Bytes in, events out; it knows neither sockets nor time.
 */
import { mayBeHead, notHttp, parseFields, parseHead, type UpstreamHead } from './response-head.ts'

export interface ResponseEvents {
  /** An interim response other than 101. */
  interim(status: number, headers: readonly string[]): void
  /** The head of the final response, or the 101 of an upgrade that was asked for. */
  head(head: UpstreamHead): void
  /** A piece of the body: a view of what was read. */
  data(chunk: Buffer): void
}

/** Of a head; and of a trailer section. */
const MAX_HEAD_BYTES = 64 * 1024
/** Of the line that begins a chunk: Node's bound on chunk extensions (CVE-2024-22019). */
const MAX_CHUNK_LINE_BYTES = 16 * 1024

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const CR = 13
const LF = 10
const SEMICOLON = 59

/** What the next byte belongs to. */
const NOTHING = 0
const HEAD = 1
const BODY_OF_LENGTH = 2
const BODY_TO_END = 3
const CHUNK_LINE = 4
const CHUNK = 5
const AFTER_CHUNK = 6
const TRAILERS = 7

const NO_FIELDS: readonly string[] = []

export class ResponseReader {
  /** The trailer fields of the message that has ended, flat. */
  trailers = NO_FIELDS
  readonly #events: ResponseEvents
  #state = NOTHING
  #hasNoBody = false
  #upgrade = false
  /** What is here of a head, a chunk's line or a trailer section that is not here whole. */
  #held: Buffer | undefined
  #heldBytes = 0
  /** Bytes of the body, or of the chunk, that are still to come. */
  #left = 0

  constructor(events: ResponseEvents) {
    this.#events = events
  }

  /** True while no message is being read: before `expect`, and after the end of the final response. */
  get idle(): boolean {
    return this.#state === NOTHING
  }

  /**
   * The next bytes answer a request.
   * @param upgrade it asked for another protocol: a 101 ends the reading of HTTP
   */
  expect(method: string, upgrade: boolean): void {
    this.#state = HEAD
    this.#hasNoBody = method === 'HEAD'
    this.#upgrade = upgrade
    this.#heldBytes = 0
    this.trailers = NO_FIELDS
  }

  /** Nobody wants the rest of the message. */
  stop(): void {
    this.#state = NOTHING
    this.#held = undefined
  }

  /**
   * @returns how many of `bytes` belong to the message: all, unless it ended among them
   * @throws an error with the code `NOT_HTTP`
   */
  read(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length && this.#state !== NOTHING) {
      switch (this.#state) {
        case HEAD:
          at = this.#readHead(bytes, at)
          break
        case BODY_OF_LENGTH:
        case CHUNK: {
          const end = Math.min(bytes.length, at + this.#left)
          this.#left -= end - at
          if (this.#left === 0) this.#state = this.#state === CHUNK ? AFTER_CHUNK : NOTHING
          this.#events.data(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
          at = end
          break
        }
        case BODY_TO_END:
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

  /** The upstream has sent all that it will. @returns whether the message is whole with that */
  finish(): boolean {
    const whole = this.#state === BODY_TO_END || this.#state === NOTHING
    this.#state = NOTHING
    return whole
  }

  #readHead(bytes: Buffer, from: number): number {
    const before = this.#heldBytes
    let text: string
    let next: number
    if (before === 0) {
      const end = bytes.indexOf(END_OF_HEAD, from)
      if (end === -1) {
        this.#hold(bytes, from, bytes.length)
        this.#checkHeld(0)
        return bytes.length
      }
      if (end - from > MAX_HEAD_BYTES) throw tooLong()
      text = bytes.toString('latin1', from, end + 2)
      next = end + END_OF_HEAD.length
    } else {
      this.#hold(bytes, from, Math.min(bytes.length, from + MAX_HEAD_BYTES + END_OF_HEAD.length))
      const held = this.#held as Buffer
      // Its end may have begun in what was here before.
      const end = held.subarray(0, this.#heldBytes).indexOf(END_OF_HEAD, Math.max(0, before - 3))
      if (end === -1) {
        this.#checkHeld(before)
        return bytes.length
      }
      if (end > MAX_HEAD_BYTES) throw tooLong()
      text = held.toString('latin1', 0, end + 2)
      next = from + end + END_OF_HEAD.length - before
      this.#heldBytes = 0
      this.#held = undefined
    }
    this.#begin(parseHead(text))
    return next
  }

  #begin(head: UpstreamHead): void {
    const { status } = head
    if (status < 200) {
      if (status !== 101) this.#events.interim(status, head.headers)
      else if (this.#upgrade) this.#switched(head)
      else throw notHttp('a switch of protocols that was not asked for')
      return
    }
    if (this.#hasNoBody || status === 204 || status === 304 || head.contentLength === 0) {
      this.#state = NOTHING
    } else if (head.chunked) {
      this.#state = CHUNK_LINE
    } else if (head.contentLength > 0) {
      this.#state = BODY_OF_LENGTH
      this.#left = head.contentLength
    } else {
      this.#state = BODY_TO_END
    }
    this.#events.head(head)
  }

  #switched(head: UpstreamHead): void {
    this.#state = NOTHING
    this.#events.head(head)
  }

  /** `1a;name=value CRLF`: the size in hexadecimal, and extensions, which nobody uses. */
  #readChunkLine(bytes: Buffer, from: number): number {
    const lf = bytes.indexOf(LF, from)
    const end = lf === -1 ? bytes.length : lf + 1
    if (this.#heldBytes === 0 && lf !== -1) {
      this.#chunk(bytes, from, end)
      return end
    }
    this.#hold(bytes, from, end)
    if (this.#heldBytes > MAX_CHUNK_LINE_BYTES) throw notHttp('a chunk extension without end')
    const held = this.#held as Buffer
    if (lf === -1) {
      if (sizeEnd(held, 0, this.#heldBytes) === -1) throw badChunk()
      return end
    }
    const length = this.#heldBytes
    this.#heldBytes = 0
    this.#held = undefined
    this.#chunk(held, 0, length)
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
    for (let at = digitsEnd; at < end - 2; at++) {
      const byte = bytes[at] as number
      if ((byte < 32 && byte !== 9) || byte === 127) throw badChunk()
    }
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
    // The usual: none.
    if (this.#heldBytes === 0 && bytes[from] === CR && bytes[from + 1] === LF) {
      this.#state = NOTHING
      return from + 2
    }
    let at = from
    while (at < bytes.length) {
      const lf = bytes.indexOf(LF, at)
      const end = lf === -1 ? bytes.length : lf + 1
      this.#hold(bytes, at, end)
      at = end
      if (this.#heldBytes > MAX_HEAD_BYTES) throw tooLong()
      if (lf === -1) break
      const held = this.#held as Buffer
      const bytesHeld = this.#heldBytes
      if (held[bytesHeld - 2] !== CR) throw badChunk()
      const empty =
        bytesHeld === 2 || (bytesHeld >= 4 && held.toString('latin1', bytesHeld - 4, bytesHeld) === '\r\n\r\n')
      if (!empty) continue
      this.#heldBytes = 0
      this.#held = undefined
      this.#state = NOTHING
      const text = held.toString('latin1', 0, bytesHeld - 2)
      this.trailers = parseFields(text, 0)
      break
    }
    return at
  }

  #hold(bytes: Buffer, from: number, end: number): void {
    const needed = this.#heldBytes + (end - from)
    if (this.#held === undefined || this.#held.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(256, needed * 2))
      this.#held?.copy(larger, 0, 0, this.#heldBytes)
      this.#held = larger
    }
    bytes.copy(this.#held, this.#heldBytes, from, end)
    this.#heldBytes = needed
  }

  /**
   * Nobody waits for the rest of a head that is none, or that is longer than any.
   * @param from what came before was looked at before
   */
  #checkHeld(from: number): void {
    // All but the last byte of its end may be here, and do not count.
    if (this.#heldBytes >= MAX_HEAD_BYTES + END_OF_HEAD.length) throw tooLong()
    const held = this.#held as Buffer
    for (let i = from; i < this.#heldBytes; i++) {
      if (held[i] === LF ? held[i - 1] !== CR : held[i - 1] === CR) throw notHttp('a line that does not end in CRLF')
    }
    if (!mayBeHead(held.toString('latin1', 0, Math.min(12, this.#heldBytes)))) {
      throw notHttp('not a response of HTTP/1')
    }
  }
}

function tooLong(): Error {
  return notHttp(`a head of more than ${MAX_HEAD_BYTES} bytes`)
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

function hexOf(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const lower = byte | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}
