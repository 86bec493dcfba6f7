/**
 * The upstream's side of an exchange: the wait for a slot, the dial, and one or two attempts, told as events in the
 * words of the gateway. The handler is undici's lower interface (`onConnect`, `onHeaders`, ...), which hands over raw
 * header bytes, where the newer one (`onResponseStart`, ...) builds an object from them that a proxy has no use for.
 */
import type { Socket } from 'node:net'
import type { Dispatcher } from 'undici'
import type { Outcome } from '../outcome.ts'
import { Place } from '../roster.ts'
import type { Borrower, Connection } from '../upstream/connection.ts'
import type { DialStage } from '../upstream/dial.ts'
import type { Upstream, Waiter } from '../upstream/upstream.ts'
import { classify, NOT_HTTP } from './failure.ts'
import { hasCoding, isFraming } from './response-head.ts'
import { hasForbiddenTrailer, isMostlyFraming } from './trailers.ts'
import type { Upload } from './upload.ts'

export interface UpstreamEvents {
  /** Waits for a slot. */
  upstreamQueued(): void
  /** A slot was taken; its connection is to be dialled, or is one that has served before. */
  upstreamSlot(connection: Connection): void
  upstreamDialling(stage: DialStage): void
  /** The request is being written. */
  upstreamConnected(): void
  /** The last byte of the request was handed to the upstream's socket. */
  upstreamRequestSent(): void
  upstreamInterim(status: number, headers: readonly Buffer[]): void
  /** @returns false where the body should wait */
  upstreamHead(status: number, statusText: string, headers: readonly Buffer[]): boolean
  /** @returns false where the rest of the body should wait */
  upstreamData(chunk: Buffer): boolean
  upstreamEnd(trailers: readonly (Buffer | string)[]): void
  /** The upstream has switched protocols: `socket` is ours from now on, and still fills its slot. Only after an `upgrade`. */
  upstreamUpgraded?(headers: readonly Buffer[], socket: Socket): void
  upstreamFailed(outcome: Outcome, error: Error | undefined): void
  /** The connection of a request that was given up is closed; `ms` since it was. */
  upstreamCancelled(ms: number): void
}

/** What is sent. */
export interface UpstreamRequest {
  readonly method: string
  readonly target: string
  readonly headers: string[]
  readonly body: Upload | null
  /** The request may be sent again when a reused connection turns out to be dead (RFC 9110 section 9.2.2). */
  readonly replayable: boolean
  /** Sets the Host that the chosen endpoint wants; undefined: the endpoint's own. */
  readonly host: string | undefined
  /** The protocol to switch to, where one is asked for. */
  readonly upgrade?: string
}

/** RFC 9110 section 9.2.2. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method)
}

/** Why the connection of an upload dies whose answer came before its end. */
const ANSWERED_EARLY = new Error('answered before the request was complete')

/** Interim responses that are passed on; an upstream that sends more is not stopped, but not amplified either. */
const MAX_INTERIM = 16

type LowerHandler = Dispatcher.DispatchHandler & { onRequestSent(): void; onResponseStarted(): void }

export class UpstreamSide implements Waiter, Borrower, LowerHandler {
  /** The connection in use, or the last that was. */
  connection: Connection | undefined
  attempts = 0
  reused = false
  readonly #upstream: Upstream
  readonly #events: UpstreamEvents
  #request: UpstreamRequest | undefined
  /** In the queue for a slot. */
  #waiting: Place<Waiter> | undefined
  #over = false
  #dialling: DialStage | undefined
  /** undici has begun to write the request of this attempt. */
  #written = false
  /** The whole request of this attempt was handed to the upstream's socket. */
  #sent = false
  #responseStarted = false
  #headersReceived = false
  #interims = 0
  /** What the connection had read before this attempt, and the payload since: what is neither is framing. */
  #wireStart = 0
  #payloadBytes = 0
  #resume: (() => void) | undefined

  constructor(upstream: Upstream, events: UpstreamEvents) {
    this.#upstream = upstream
    this.#events = events
  }

  start(request: UpstreamRequest): void {
    this.#request = request
    const got = this.#upstream.acquire(this)
    if (got === 'full') {
      this.#over = true
      this.#events.upstreamFailed('queue_full', undefined)
    } else if (got instanceof Place) {
      this.#waiting = got
      this.#events.upstreamQueued()
    } else {
      this.slotReady(got)
    }
  }

  /** Whether there is anything to cancel. */
  get over(): boolean {
    return this.#over
  }

  slotReady(connection: Connection): void {
    this.#waiting = undefined
    this.#attempt(connection)
  }

  /** Goes on with a response body that was paused. */
  resume(): void {
    this.#resume?.()
  }

  /** Gives the request up: leaves the queue, ends the dial, or resets the connection. */
  cancel(reason: Error): void {
    if (this.#over) return
    this.#over = true
    if (this.#waiting !== undefined) {
      this.#upstream.leave(this.#waiting)
      return
    }
    this.connection?.kill(reason, ms => this.#events.upstreamCancelled(ms))
    this.#request?.body?.destroy()
  }

  /** An upgraded connection has come to its end on both sides: its slot is free. */
  finish(): void {
    if (this.#over) return
    this.#over = true
    this.connection?.ended()
  }

  #attempt(connection: Connection): void {
    const request = this.#request as UpstreamRequest
    this.connection = connection
    this.attempts++
    this.reused = connection.served > 0
    this.#written = false
    this.#sent = false
    connection.borrow(this)
    this.#events.upstreamSlot(connection)
    if (this.#over) return
    const { host } = request
    try {
      connection.dispatch(
        {
          path: request.target,
          method: request.method as Dispatcher.HttpMethod,
          headers: host === undefined ? request.headers : ['Host', host, ...request.headers],
          body: request.body,
          upgrade: request.upgrade,
        } as Dispatcher.DispatchOptions,
        this,
      )
    } catch (error) {
      this.onError(error as Error)
    }
  }

  dialStage(stage: DialStage): void {
    // Also for a connection that was reused and found dead before anything was written to it.
    this.reused = false
    this.#dialling = stage
    if (!this.#over) this.#events.upstreamDialling(stage)
  }

  dialled(): void {
    this.#dialling = undefined
  }

  peerEnded(): void {
    if (!this.#over) this.#resume?.()
  }

  onConnect(): void {
    this.#wireStart = this.connection?.rawSocket?.bytesRead ?? 0
    this.#written = true
    if (!this.#over) this.#events.upstreamConnected()
  }

  onRequestSent(): void {
    this.#sent = true
    if (!this.#over) this.#events.upstreamRequestSent()
  }

  onResponseStarted(): void {
    this.#responseStarted = true
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean {
    if (this.#over) return true
    const version = this.connection?.version
    const alien = version?.wrong === true || (version?.minor === 0 && hasCoding(headers))
    // RFC 9110 section 15: what is above 599 is for internal use, and a client cannot know it.
    if (alien || status > 599) {
      this.onError(notHttp('not a response of HTTP/1'))
      return true
    }
    if (status < 200) {
      // undici asserts on `099`, and takes a framed interim response (RFC 9110 section 8.6) for an unframed one.
      if (status < 100 || isFraming(headers)) {
        this.onError(notHttp('an interim response that is none'))
        return true
      }
      if (++this.#interims <= MAX_INTERIM) this.#events.upstreamInterim(status, headers)
      return true
    }
    this.#headersReceived = true
    this.#resume = resume
    return this.#events.upstreamHead(status, statusText, headers)
  }

  onUpgrade(_status: number, headers: Buffer[], socket: Socket): void {
    if (this.#over) return
    if (this.connection?.version.wrong === true || this.connection?.version.minor === 0) {
      this.onError(notHttp('not a response of HTTP/1.1'))
      return
    }
    this.#headersReceived = true
    this.#events.upstreamUpgraded?.(headers, socket)
  }

  onData(chunk: Buffer): boolean {
    if (this.#over) return true
    this.#payloadBytes += chunk.length
    const wireBytes = (this.connection?.rawSocket?.bytesRead ?? 0) - this.#wireStart
    if (isMostlyFraming(wireBytes, this.#payloadBytes)) {
      this.onError(notHttp('chunk extensions without end'))
      return true
    }
    // After its FIN a body must not be paused; what is left is in undici's hands already, one read at most.
    return this.#events.upstreamData(chunk) || this.connection?.peerEnded === true
  }

  onComplete(trailers: readonly (Buffer | string)[] | null): void {
    if (this.#over) return
    const { connection } = this
    // undici calls a close-delimited body that ended in a RST complete (stack fact 28).
    if (connection?.broke !== undefined) {
      this.onError(connection.broke)
      return
    }
    if (trailers !== null && hasForbiddenTrailer(trailers)) {
      this.onError(notHttp('a forbidden trailer field'))
      return
    }
    this.#over = true
    // An early answer: undici would say FIN behind an upload that nobody reads, and that FIN would never arrive.
    if (this.#sent) connection?.release()
    else connection?.kill(ANSWERED_EARLY)
    this.#request?.body?.destroy()
    this.#events.upstreamEnd(trailers ?? [])
  }

  onError(error: Error): void {
    if (this.#over) return
    const { connection } = this
    const request = this.#request as UpstreamRequest
    const cause = connection?.broke ?? error
    const outcome = classify(cause, {
      dialling: this.#dialling,
      reused: this.reused,
      responseStarted: this.#responseStarted,
      headersReceived: this.#headersReceived,
      ended: connection?.peerEnded === true,
    })
    // What was not written at all can be sent by any method: the connection died while undici looked at it once more.
    const replayable = request.replayable || !this.#written
    if (outcome === 'stale_connection' && replayable && this.attempts === 1 && connection !== undefined) {
      this.#attempt(this.#upstream.replace(connection))
      return
    }
    this.#over = true
    // What is not HTTP may still be coming, and what we sent may still be worked on.
    if (connection !== undefined && !connection.closed) connection.kill(cause)
    else connection?.ended()
    request.body?.destroy()
    this.#events.upstreamFailed(outcome, cause)
  }
}

/** What undici lets through, in the words of what it does not. */
function notHttp(what: string): Error {
  return Object.assign(new Error(what), { code: NOT_HTTP })
}
