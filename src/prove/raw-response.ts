import { deferred, Progress, within } from './awaiting.ts'
import type { Leave, RawHeaders } from './faults.ts'
import { type Framing, framingOf, headerOf, MalformedMessage, type MessageHead } from './message-parser.ts'

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  readonly headers: RawHeaders
  /** `performance.now()` ms when its last byte was read. */
  readonly at: number
}

/** What a client saw of one response, however it ended. */
export interface RawResponse {
  /** 0 when the connection ended before a final head came. */
  readonly status: number
  readonly reason: string
  /** As they came: order, case and duplicates. */
  readonly headers: RawHeaders
  readonly body: Buffer
  readonly trailers: RawHeaders
  /** The 1xx heads that came before. */
  readonly interim: readonly ResponseHead[]
  /** False: cut off, before its Content-Length, last chunk or (without either) by a RST; or no HTTP at all. */
  readonly complete: boolean
  /** How the connection had ended when the response did; `open` when it went on. */
  readonly ended: Leave | 'us' | 'open'
  /** Why it is no HTTP. */
  readonly malformed?: string
  /** `performance.now()` ms. */
  readonly sentAt: number
  readonly firstByteAt: number | undefined
  readonly headersAt: number | undefined
  readonly doneAt: number
  /** The value of a header by its name in any case; several joined by a comma. */
  header(name: string): string | undefined
}

/** A response that is awaited: each of its steps can be, and every wait is bounded and says what had come. */
export class PendingResponse {
  /** `performance.now()` ms when its request was handed to the socket. */
  readonly sentAt = performance.now()
  readonly interim: ResponseHead[] = []
  readonly #method: string
  readonly #timeoutMs: number
  readonly #firstByte = deferred<number>()
  readonly #headers = deferred<ResponseHead>()
  readonly #response = deferred<RawResponse>()
  readonly #interims = new Progress()
  readonly #received = new Progress()
  readonly #chunks: Buffer[] = []
  #head: ResponseHead | undefined
  #firstByteAt: number | undefined

  constructor(method: string, timeoutMs: number) {
    this.#method = method
    this.#timeoutMs = timeoutMs
  }

  /** Resolves when the response is over: whole, cut off, or because the connection ended. Rejects only by its bound. */
  get response(): Promise<RawResponse> {
    return this.#within(this.#response.promise, 'end of the response')
  }

  /** The final head (not a 1xx); rejects when the connection ends before. */
  get headers(): Promise<ResponseHead> {
    return this.#within(this.#headers.promise, 'response headers')
  }

  /** `performance.now()` ms of the first byte, of a 1xx too; rejects when the connection ends before. */
  get firstByte(): Promise<number> {
    return this.#within(this.#firstByte.promise, 'first response byte')
  }

  /** Body bytes received so far (payload, not framing). */
  get bodyBytes(): number {
    return this.#received.value
  }

  /** Resolves when so many body bytes have come; rejects when the response ends before. */
  bodyReached(bytes: number): Promise<void> {
    return this.#within(this.#received.reached(bytes), `${bytes} body bytes`)
  }

  /** Resolves when so many 1xx heads have come. */
  interimReached(count: number): Promise<void> {
    return this.#within(this.#interims.reached(count), `${count} interim responses`)
  }

  takeBytes(): void {
    if (this.#firstByteAt !== undefined) return
    this.#firstByteAt = performance.now()
    this.#firstByte.resolve(this.#firstByteAt)
  }

  takeHead(message: MessageHead): Framing {
    const parts = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(message.startLine)
    if (!parts?.[1]) throw new MalformedMessage(`not a status line: ${JSON.stringify(message.startLine.slice(0, 80))}`)
    const status = Number(parts[1])
    const head = { status, reason: parts[2] ?? '', headers: message.headers, at: performance.now() }
    if (status < 200 && status !== 101) {
      this.interim.push(head)
      this.#interims.add(1)
      return 'interim'
    }
    this.#head = head
    this.#headers.resolve(head)
    if (this.#method === 'HEAD' || status === 204 || status === 304) return 'none'
    return framingOf(message.headers, 'until-close')
  }

  takeBody(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.#received.add(bytes.length)
  }

  takeEnd(trailers: RawHeaders, ended: RawResponse['ended']): void {
    this.#finish(true, ended, trailers)
  }

  takeClose(ended: Leave | 'us'): void {
    this.#finish(false, ended, [])
  }

  takeGarbage(why: string): void {
    this.#finish(false, 'us', [], why)
  }

  #finish(complete: boolean, ended: RawResponse['ended'], trailers: RawHeaders, malformed?: string): void {
    const gone = new Error(`the response ended (${malformed ?? ended}) after ${this.#state()}`)
    this.#firstByte.reject(gone)
    this.#headers.reject(gone)
    this.#interims.end(gone)
    this.#received.end(gone)
    const headers = this.#head?.headers ?? []
    this.#response.resolve({
      status: this.#head?.status ?? 0,
      reason: this.#head?.reason ?? '',
      headers,
      body: Buffer.concat(this.#chunks),
      trailers,
      interim: this.interim,
      complete,
      ended,
      ...(malformed === undefined ? {} : { malformed }),
      sentAt: this.sentAt,
      firstByteAt: this.#firstByteAt,
      headersAt: this.#head?.at,
      doneAt: performance.now(),
      header: name => headerOf(headers, name),
    })
  }

  #within<T>(promise: Promise<T>, what: string): Promise<T> {
    return within(promise, this.#timeoutMs, what, () => `came: ${this.#state()}`)
  }

  #state(): string {
    if (!this.#head) return this.interim.length > 0 ? `${this.interim.length} interim heads` : 'nothing'
    return `status ${this.#head.status}, ${this.bodyBytes} body bytes`
  }
}
