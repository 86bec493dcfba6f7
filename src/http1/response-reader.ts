/**
 * Reads the responses of one connection off its bytes: interim heads, the head, the body, the trailer fields, and where
 * the message ends (RFC 9112 sections 6 and 7). Bytes in, events out; it knows neither sockets nor time.
 */
import { type BodyEvents, BodyReader } from './body-reader.ts'
import { type Fields, notHttp } from './fields.ts'
import { HeadFinder, type HeadLimits } from './head-finder.ts'
import { MAX_FIELDS, mayBeHead, parseHead, type UpstreamHead } from './response-head.ts'

export interface ResponseEvents extends BodyEvents {
  /** An interim response other than 101. */
  interim(status: number, fields: Fields): void
  /** The head of the final response, or the 101 of an upgrade that was asked for. */
  head(head: UpstreamHead): void
}

/** Of a head; and of a trailer section. */
const MAX_HEAD_BYTES = 64 * 1024

const LIMITS: HeadLimits = {
  mostBytes: MAX_HEAD_BYTES,
  tooLong: () => notHttp(`a head of more than ${MAX_HEAD_BYTES} bytes`),
  check: begun => {
    if (!mayBeHead(begun)) throw notHttp('not a response of HTTP/1')
  },
}

export class ResponseReader {
  readonly #events: ResponseEvents
  readonly #body: BodyReader
  readonly #finder = new HeadFinder(LIMITS)
  /** A head is to come. */
  #inHead = false
  #hasNoBody = false
  #upgrade = false

  constructor(events: ResponseEvents) {
    this.#events = events
    this.#body = new BodyReader(events, { bytes: MAX_HEAD_BYTES, fields: MAX_FIELDS })
  }

  /** True while no message is being read: before `expect`, and after the end of the final response. */
  get idle(): boolean {
    return !this.#inHead && this.#body.over
  }

  /** The trailer fields of the message that has ended, flat. */
  get trailers(): readonly string[] {
    return this.#body.trailers
  }

  /**
   * The next bytes answer a request.
   * @param upgrade it asked for another protocol: a 101 ends the reading of HTTP
   */
  expect(method: string, upgrade: boolean): void {
    this.stop()
    this.#inHead = true
    this.#hasNoBody = method === 'HEAD'
    this.#upgrade = upgrade
  }

  /** Nobody wants the rest of the message. */
  stop(): void {
    this.#inHead = false
    this.#finder.forget()
    this.#body.reset()
  }

  /**
   * @returns how many of `bytes` belong to the message: all, unless it ended among them
   * @throws an error with the code `NOT_HTTP`
   */
  read(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length) {
      if (this.#inHead) {
        const { begun } = this.#finder
        const text = this.#finder.find(bytes, at)
        if (text === undefined) return bytes.length
        const head = begun ? parseHead(text) : parseHead(text, bytes, at)
        at = this.#finder.next
        this.#begin(head)
      } else if (this.#body.over) break
      else at = this.#body.read(bytes, at)
    }
    return at
  }

  /** The upstream has sent all that it will. @returns whether the message is whole with that */
  finish(): boolean {
    const whole = !this.#inHead && this.#body.finish()
    this.#inHead = false
    return whole
  }

  #begin(head: UpstreamHead): void {
    const { status } = head
    if (status < 200) {
      if (status !== 101) this.#events.interim(status, head.fields)
      else if (this.#upgrade) this.#final(head)
      else throw notHttp('a switch of protocols that was not asked for')
      return
    }
    const bodyless = this.#hasNoBody || status === 204 || status === 304 || head.contentLength === 0
    if (!bodyless) {
      if (head.chunked) this.#body.beginChunked()
      else if (head.contentLength > 0) this.#body.beginLength(head.contentLength)
      else this.#body.beginToEnd()
    }
    this.#final(head)
  }

  #final(head: UpstreamHead): void {
    this.#inHead = false
    this.#events.head(head)
  }
}
