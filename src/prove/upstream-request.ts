import { createHash } from 'node:crypto'
import { AWAIT_MS, deferred, Progress, within } from './awaiting.ts'
import type { Answer, RawHeaders } from './faults.ts'
import { headerOf, MalformedMessage, type MessageHead } from './message-parser.ts'
import type { UpstreamConnection } from './upstream-connection.ts'

/** What a behaviour chooses its fault by. */
export interface RequestHead {
  readonly method: string
  /** The request-target as it came: path and query. */
  readonly target: string
  /** The target without its query. */
  readonly path: string
  readonly rawHeaders: RawHeaders
  /** Counting from 0 over the life of the upstream. */
  readonly index: number
  /** Counting from 0 on its connection: above 0, the connection was reused. */
  readonly indexOnConnection: number
  readonly connection: UpstreamConnection
  header(name: string): string | undefined
}

export interface UploadSummary {
  readonly bytes: number
  readonly trailers: RawHeaders
  /** Hex digest of the whole body. */
  readonly sha256: string
  /** `performance.now()` ms of its last byte. */
  readonly at: number
}

/** The first so many bytes of an upload are kept for a test to look at. */
const KEPT_BODY_BYTES = 1024 * 1024

/** One request as it was seen, and the means to answer it by hand where its fault is a hang. */
export class UpstreamRequest implements RequestHead {
  readonly method: string
  readonly target: string
  readonly path: string
  readonly rawHeaders: RawHeaders
  readonly index: number
  readonly indexOnConnection: number
  readonly connection: UpstreamConnection
  /** `performance.now()` ms of the end of its head. */
  readonly receivedAt = performance.now()
  readonly #progress = new Progress()
  readonly #upload = deferred<UploadSummary>()
  readonly #manual = deferred<Answer>()
  readonly #answered = deferred<number>()
  readonly #hash = createHash('sha256')
  #kept: Buffer[] = []
  #keptBytes = 0
  #summary: UploadSummary | undefined

  constructor(head: MessageHead, index: number, connection: UpstreamConnection) {
    const parts = /^([!-~]+) ([!-~]+) HTTP\/1\.[01]$/.exec(head.startLine)
    if (!parts?.[1] || !parts[2]) throw new MalformedMessage(`not a request line: ${head.startLine.slice(0, 80)}`)
    this.method = parts[1]
    this.target = parts[2]
    this.path = parts[2].replace(/\?.*$/s, '')
    this.rawHeaders = head.headers
    this.index = index
    this.indexOnConnection = connection.requestCount++
    this.connection = connection
    connection.over.addEventListener('abort', this.#cutOff)
  }

  readonly #cutOff = (): void => {
    const error = new Error(`the connection of ${this.method} ${this.target} ended after ${this.bodyBytes} body bytes`)
    this.#progress.end(error)
    this.#upload.reject(error)
    this.#answered.reject(error)
  }

  header(name: string): string | undefined {
    return headerOf(this.rawHeaders, name)
  }

  /** Upload bytes received so far (payload, not framing). */
  get bodyBytes(): number {
    return this.#progress.value
  }

  /** The first MiB of the upload, as far as it has come. */
  get body(): Buffer {
    return Buffer.concat(this.#kept)
  }

  get isUploadComplete(): boolean {
    return this.#summary !== undefined
  }

  /** Trailers of the upload; empty until it is complete. */
  get trailers(): RawHeaders {
    return this.#summary?.trailers ?? []
  }

  /** Resolves with the whole upload; rejects when its connection ends first, or after 10 s. */
  get uploaded(): Promise<UploadSummary> {
    return within(
      this.#upload.promise,
      AWAIT_MS,
      `end of the upload of ${this.method} ${this.target}`,
      () => `${this.bodyBytes} bytes came`,
    )
  }

  /** Resolves when so many upload bytes have come; rejects when the connection ends first, or after 10 s. */
  bodyReached(bytes: number): Promise<void> {
    return within(
      this.#progress.reached(bytes),
      AWAIT_MS,
      `${bytes} upload bytes of ${this.target}`,
      () => `${this.bodyBytes} came`,
    )
  }

  /** Resolves, `performance.now()` ms, when the kernel took the last byte of the answer; rejects when it never does. */
  get answered(): Promise<number> {
    return within(this.#answered.promise, AWAIT_MS, `answer to ${this.method} ${this.target}`)
  }

  /** Ends a `headers: hang` (of 0 bytes) or `request: stop-reading` with this answer, when the test says so. */
  answer(answer: Answer = {}): Promise<number> {
    this.#manual.resolve(answer)
    return this.answered
  }

  /** For the kit: the unbounded promises that faults are made of. */
  get waits() {
    return {
      upload: this.#upload.promise,
      body: (bytes: number) => this.#progress.reached(bytes),
      manualAnswer: this.#manual.promise,
      answered: this.#answered.promise,
    }
  }

  noteBody(bytes: Buffer): void {
    this.#hash.update(bytes)
    if (this.#keptBytes < KEPT_BODY_BYTES) {
      this.#kept.push(bytes)
      this.#keptBytes += bytes.length
    }
    this.#progress.add(bytes.length)
  }

  noteUploaded(trailers: RawHeaders): void {
    this.#summary = { bytes: this.bodyBytes, trailers, sha256: this.#hash.digest('hex'), at: performance.now() }
    this.#upload.resolve(this.#summary)
  }

  noteAnswered(): void {
    this.#answered.resolve(performance.now())
    // One connection may serve many thousand requests.
    if (this.isUploadComplete) this.connection.over.removeEventListener('abort', this.#cutOff)
  }
}
