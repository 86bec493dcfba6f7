/**
 * Reads the requests of one connection off its bytes: the head, the body, the trailer fields, and where the message ends
 * (RFC 9112 sections 3, 6 and 7). One message after the other: what comes behind one is for whoever reads on. Bytes in,
 * events out; it knows neither sockets nor time.
 */
import { type BodyEvents, BodyReader } from './body-reader.ts'
import { CR, LF, notHttp } from './fields.ts'
import { HeadFinder } from './head-finder.ts'
import { type ClientHead, checkBegun, headTooLong, MAX_FIELDS, parseRequest } from './request-head.ts'

export interface RequestEvents extends BodyEvents {
  head(head: ClientHead): void
  /** The body is over. Not told of requests that have none. */
  bodyEnd(trailers: readonly string[]): void
}

export class RequestReader {
  readonly #events: RequestEvents
  readonly #mostHeadBytes: number
  readonly #finder: HeadFinder
  /** Most connections never have a body. */
  #body: BodyReader | undefined
  #inBody = false
  /** A CR before a request line is here, and not yet its LF. */
  #blank = false

  /** @param mostHeadBytes of a head; and of a trailer section */
  constructor(events: RequestEvents, mostHeadBytes: number) {
    this.#events = events
    this.#mostHeadBytes = mostHeadBytes
    this.#finder = new HeadFinder({ mostBytes: mostHeadBytes, tooLong: headTooLong, check: checkBegun })
  }

  /** Part of a head is here. */
  get inHead(): boolean {
    return this.#finder.begun || this.#blank
  }

  /** A body is on its way. */
  get inBody(): boolean {
    return this.#inBody
  }

  /** Nobody wants the rest of the message. */
  stop(): void {
    this.#finder.forget()
    this.#blank = false
    this.#inBody = false
    this.#body?.reset()
  }

  /**
   * Reads on in one message, up to its end, or up to the end of a head.
   * @returns where the bytes go on
   * @throws an error with the code `NOT_HTTP`
   */
  read(bytes: Buffer, from: number): number {
    if (this.#inBody) return this.#readBody(bytes, from)
    const { begun } = this.#finder
    const start = begun ? from : this.#skipBlankLines(bytes, from)
    if (start === bytes.length) return start
    if (this.#blank) throw notHttp('a line that does not end in CRLF')
    const text = this.#finder.find(bytes, start)
    if (text === undefined) return bytes.length
    const head = begun ? parseRequest(text) : parseRequest(text, bytes, start)
    if (head.hasBody) {
      this.#body ??= new BodyReader(this.#events, { bytes: this.#mostHeadBytes, fields: MAX_FIELDS })
      if (head.chunked) this.#body.beginChunked()
      else this.#body.beginLength(head.contentLength)
      this.#inBody = true
    }
    const { next } = this.#finder
    this.#events.head(head)
    return next
  }

  #readBody(bytes: Buffer, from: number): number {
    const body = this.#body as BodyReader
    const next = body.read(bytes, from)
    // Whoever heard of a piece may have stopped it.
    if (this.#inBody && body.over) {
      this.#inBody = false
      this.#events.bodyEnd(body.trailers)
    }
    return next
  }

  /** RFC 9112 section 2.2: empty lines before a request line are ignored; some old clients end a body so. */
  #skipBlankLines(bytes: Buffer, from: number): number {
    let at = from
    while (at < bytes.length && bytes[at] === (this.#blank ? LF : CR)) {
      this.#blank = !this.#blank
      at++
    }
    return at
  }
}
