/**
 * The upstream's side of an exchange: the wait for a slot, the dial, and one or two attempts, told as events in the
 * words of the gateway.
 */
import type { Socket } from 'node:net'
import { type Fields, notHttp } from '../http1/fields.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import type { Outcome } from '../outcome.ts'
import { Place } from '../roster.ts'
import type { Borrower } from '../upstream/borrower.ts'
import type { Connection } from '../upstream/connection.ts'
import type { DialStage } from '../upstream/dial.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import type { Upstream, Waiter } from '../upstream/upstream.ts'
import { classify } from './failure.ts'
import { hasForbiddenTrailer, isMostlyFraming } from './trailers.ts'

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
  upstreamInterim(status: number, fields: Fields): void
  /** @returns false where the body should wait */
  upstreamHead(head: UpstreamHead): boolean
  /**
   * @param firstOfRead nothing else of what was read with it was told before
   * @returns false where the rest of the body should wait
   */
  upstreamData(chunk: Buffer, firstOfRead: boolean): boolean
  /** All of one large read was told. @param buffer what it was read into, to be given back when its pieces are away */
  upstreamReadOver(buffer: Buffer): void
  upstreamEnd(trailers: readonly string[]): void
  /** The upstream has switched protocols: `socket` is ours from now on, and still fills its slot. Only after an `upgrade`. */
  upstreamUpgraded?(head: UpstreamHead, socket: Socket): void
  upstreamFailed(outcome: Outcome, error: Error | undefined): void
  /** The connection of a request that was given up is closed; `ms` since it was. */
  upstreamCancelled(ms: number): void
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

export class UpstreamSide implements Waiter, Borrower {
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
  /** The request of this attempt is being written, or was. */
  #written = false
  /** The whole request of this attempt was handed to the upstream's socket. */
  #sent = false
  #responseStarted = false
  #headersReceived = false
  #interims = 0
  /** What the connection had read before this attempt, and the payload since: what is neither is framing. */
  #wireStart = 0
  /** What it had read when something of the response was last told. */
  #toldAt = 0
  #payloadBytes = 0

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
    if (!this.#over) this.connection?.resume()
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
    this.#request?.body?.stop()
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
    if (!this.#over) connection.send(request)
  }

  dialStage(stage: DialStage): void {
    this.#dialling = stage
    if (!this.#over) this.#events.upstreamDialling(stage)
  }

  dialled(): void {
    this.#dialling = undefined
  }

  writing(): void {
    this.#wireStart = this.connection?.bytesRead ?? 0
    this.#written = true
    if (!this.#over) this.#events.upstreamConnected()
  }

  sent(): void {
    this.#sent = true
    if (!this.#over) this.#events.upstreamRequestSent()
  }

  responseStarted(): void {
    this.#responseStarted = true
  }

  interim(status: number, fields: Fields): void {
    // A 100 is for us, who have not asked for it: the client's own was answered at its hop.
    if (!this.#over && status !== 100 && ++this.#interims <= MAX_INTERIM) this.#events.upstreamInterim(status, fields)
  }

  head(head: UpstreamHead): boolean {
    if (this.#over) return true
    this.#headersReceived = true
    this.#toldAt = this.connection?.bytesRead ?? 0
    return this.#events.upstreamHead(head)
  }

  upgraded(head: UpstreamHead, socket: Socket): void {
    if (this.#over) return
    this.#headersReceived = true
    this.#events.upstreamUpgraded?.(head, socket)
  }

  data(chunk: Buffer): boolean {
    if (this.#over) return true
    this.#payloadBytes += chunk.length
    const bytesRead = this.connection?.bytesRead ?? 0
    if (isMostlyFraming(bytesRead - this.#wireStart, this.#payloadBytes)) {
      this.failed(notHttp('chunk extensions without end'))
      return true
    }
    const firstOfRead = bytesRead !== this.#toldAt
    this.#toldAt = bytesRead
    return this.#events.upstreamData(chunk, firstOfRead)
  }

  readOver(buffer: Buffer): void {
    this.#events.upstreamReadOver(buffer)
  }

  complete(trailers: readonly string[]): void {
    if (this.#over) return
    const { connection } = this
    if (hasForbiddenTrailer(trailers)) {
      this.failed(notHttp('a forbidden trailer field'))
      return
    }
    this.#over = true
    // An early answer: a FIN behind an upload that nobody reads would never arrive.
    if (this.#sent) connection?.release()
    else connection?.kill(ANSWERED_EARLY)
    this.#request?.body?.stop()
    this.#events.upstreamEnd(trailers)
  }

  failed(error: Error): void {
    if (this.#over) return
    const { connection } = this
    const request = this.#request as UpstreamRequest
    const cause = connection?.broke ?? error
    const outcome = classify(cause, {
      dialling: this.#dialling,
      reused: this.reused,
      responseStarted: this.#responseStarted,
      headersReceived: this.#headersReceived,
    })
    // What was not written at all can be sent by any method.
    const replayable = request.replayable || !this.#written
    if (outcome === 'stale_connection' && replayable && this.attempts === 1 && connection !== undefined) {
      this.#attempt(this.#upstream.replace(connection))
      return
    }
    this.#over = true
    // What is not HTTP may still be coming, and what we sent may still be worked on.
    if (connection !== undefined && !connection.closed) connection.kill(cause)
    else connection?.ended()
    request.body?.stop()
    this.#events.upstreamFailed(outcome, cause)
  }
}
