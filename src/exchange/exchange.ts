/**
 * The life of one request: enters, waits for a slot, is sent, is answered, leaves one record. Whatever happens goes
 * through `#end`, once: the first cause wins, and what it causes on the other side is no cause.
 */
import type { Socket } from 'node:net'
import type { Fields } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import { NEVER } from '../never.ts'
import { OUTCOMES, type Outcome, type Stage, type TimeoutName } from '../outcome.ts'
import type { Place } from '../roster.ts'
import type { Connection } from '../upstream/connection.ts'
import type { DialStage } from '../upstream/dial.ts'
import { now } from './alarm.ts'
import type { ClientConnection, ConnectionUser } from './client-connection.ts'
import { type ClientEvents, ClientSide } from './client-side.ts'
import { problem } from './problem.ts'
import { report } from './report.ts'
import { RequestBody, type RequestBodyEvents } from './request-body.ts'
import { type RequestHead, requestHead } from './request-head.ts'
import { hintFields, responseHead } from './response-head.ts'
import type { BoundRoute, InFlight, Inside } from './route.ts'
import { Timeline } from './timeline.ts'
import { type TimeoutEvents, Timeouts } from './timeouts.ts'
import { isIdempotent, type UpstreamEvents, UpstreamSide } from './upstream-side.ts'

/** The reason that a connection dies with when its request is given up: one for all, a stack trace costs 4 us. */
const GIVEN_UP = Object.assign(new Error('the gateway gave the request up'), { code: 'HOPGATE_GIVEN_UP' })

export class Exchange implements ClientEvents, UpstreamEvents, RequestBodyEvents, TimeoutEvents, ConnectionUser {
  readonly route: BoundRoute
  /** The path that was matched, without its query string. */
  readonly path: string
  readonly #target: string
  readonly #head: RequestHead
  readonly #client: ClientSide
  readonly #upstream: UpstreamSide
  readonly #timeouts: Timeouts
  readonly #timeline = new Timeline(now())
  #body: RequestBody | undefined
  /** Where the upstream hop is. */
  #stage: Stage = 'route'
  #outcome: Outcome | undefined
  #endStage: Stage | undefined
  #error: Error | undefined
  #timeout: TimeoutName | undefined
  #overrunMs = NEVER
  #clientAbortAge = NEVER
  #closed = false
  #place: Place<InFlight> | undefined

  /** @param target the request target that was matched: normalised, with its query string */
  constructor(route: BoundRoute, request: ClientHead, connection: ClientConnection, target: string) {
    const { isTrusted, newId, table } = route.shared
    const query = target.indexOf('?')
    this.route = route
    this.path = query === -1 ? target : target.slice(0, query)
    this.#target = target
    this.#head = requestHead(request, route.requestRules, connection.peer, isTrusted, newId)
    this.#client = new ClientSide(request, connection, this)
    this.#upstream = new UpstreamSide(route.upstream, this)
    this.#timeouts = new Timeouts(route.limits, connection.alarm, table, this)
  }

  /** Sends the exchange on its way. */
  begin(): void {
    const { shared, limits, inflight } = this.route
    const overloaded = inflight.size >= limits.inFlight
    shared.ledger.requests.opened++
    this.#place = inflight.add(this)
    this.#client.connection.busy(this)
    if (shared.draining) {
      this.#end('draining', 'route')
      return
    }
    if (overloaded) {
      this.#end('overloaded', 'route')
      return
    }
    if (this.#head.looped) {
      this.#end('loop_detected', 'route')
      return
    }
    const { request, connection } = this.#client
    if (request.hasBody) {
      if (request.contentLength > limits.bodyBytes) {
        this.#end('body_too_large', 'request_body')
        return
      }
      const { bodyBytes } = limits
      this.#body = new RequestBody(
        connection,
        bodyBytes,
        request.expectsContinue,
        this.#timeouts,
        shared.vanished,
        this,
      )
    } else {
      this.#timeouts.requestReceived(this.#timeline.started)
    }
    this.#timeline.asked = this.#timeline.started
    this.#stage = 'queue'
    const { host } = this.route
    this.#upstream.start({
      method: this.method,
      target: this.route.rewrite(this.#target),
      passed: this.#head.passed,
      added: this.#head.added,
      body: this.#body?.upload ?? null,
      chunked: request.chunked,
      replayable: !request.hasBody && isIdempotent(this.method),
      host: host.kind === 'upstream' ? undefined : host.kind === 'literal' ? host.value : request.host,
    })
  }

  /** The gateway stops: whatever is still under way is cut. */
  drainKill(): void {
    this.#end('drain_killed', this.stageNow)
  }

  /** Something of ours failed. */
  fail(error: Error): void {
    this.#end('internal_error', this.stageNow, error)
  }

  // ---- what others may ask while it is under way ----

  get requestId(): string {
    return this.#head.requestId
  }

  get clientAddress(): string {
    return this.#head.clientAddress
  }

  get method(): string {
    return this.#client.request.method
  }

  get endpointUrl(): string {
    return this.#upstream.connection?.endpoint.config.url ?? ''
  }

  get socket(): Socket {
    return this.#client.connection.socket
  }

  ageMs(at: number): number {
    return at - this.#timeline.started
  }

  /** For those who watch over it: they change nothing. */
  get inside(): Inside {
    return { timeouts: this.#timeouts, timeline: this.#timeline, hasBody: this.#client.request.hasBody }
  }

  /** Where the exchange is, seen from both hops. */
  get stageNow(): Stage {
    if (this.#stage === 'request_write' && this.#timeouts.wantsUpload) return 'request_body'
    if (this.#stage === 'response_body' && this.#client.blocked) return 'client_write'
    return this.#stage
  }

  // ---- the client hop ----

  clientGone(): void {
    if (this.#outcome !== undefined) return
    const stage = this.stageNow
    this.#clientAbortAge = now() - this.#timeline.started
    const received = this.#body === undefined || this.#body.complete
    if (!this.route.finishOnAbort || !received || this.#upstream.over) {
      this.#end('client_abort', stage)
      return
    }
    // The outcome is known; the upstream's work goes on to its end, within its own timeouts.
    this.#outcome = 'client_abort'
    this.#endStage = stage
    this.#timeouts.responseFlushed()
    this.#upstream.resume()
  }

  clientDelivered(): void {
    this.#end('completed', undefined)
  }

  clientBlocked(): void {
    this.#timeouts.responsePending(this.socket)
  }

  clientDrained(): void {
    this.#timeouts.responseFlushed()
    if (this.#upstream.over) return
    this.#timeouts.responseByte()
    this.#upstream.resume()
  }

  clientEnded(): void {
    // What is already written may still be read by a client that only closed its sending side.
    if (!this.#client.ended) this.#client.lost()
  }

  clientVanished(): void {
    this.#client.lost()
  }

  clientClosed(): void {
    this.#client.lost()
  }

  clientMalformed(error: Error): void {
    this.#end('bad_request', 'request_body', error)
  }

  bodyData(chunk: Buffer): void {
    this.#body?.upload.received(chunk)
  }

  bodyRead(buffer: Buffer): void {
    this.#body?.upload.readOver(buffer)
  }

  bodyEnd(trailers: readonly string[]): void {
    this.#body?.upload.ended(trailers)
  }

  bodyRefused(outcome: Outcome, error?: Error): void {
    this.#end(outcome, 'request_body', error)
  }

  bodyInvited(): void {
    this.#client.inviteBody()
  }

  get upstreamSocket(): Socket | undefined {
    return this.#upstream.connection?.rawSocket
  }

  // ---- the upstream hop ----

  upstreamQueued(): void {
    this.#timeline.queued = true
    this.#timeouts.queued(this.#timeline.started)
  }

  upstreamSlot(connection: Connection): void {
    this.#timeouts.slotTaken()
    this.#timeline.slotTaken(connection.served > 0)
    this.#stage = connection.served > 0 ? 'request_write' : 'connect'
  }

  upstreamDialling(stage: DialStage): void {
    this.#stage = stage
    this.#timeline.dials(now())
    this.#timeouts.dialling()
  }

  upstreamConnected(): void {
    this.#timeouts.connected()
    this.#timeline.isConnected()
    this.#stage = 'request_write'
    this.route.reuse(this.#upstream.reused)
  }

  upstreamRequestSent(): void {
    const { connection } = this.#upstream
    if (connection === undefined || !connection.writing) {
      this.#requestFlushed()
      return
    }
    this.#timeouts.requestPending(connection.rawSocket)
    connection.onceFlushed(() => this.#requestFlushed())
  }

  #requestFlushed(): void {
    this.#timeline.sent = now()
    // An upstream may answer before it has the whole request.
    if (this.#timeline.headers !== -1) return
    this.#stage = 'response_headers'
    this.#timeouts.requestSent(this.#timeline.sent)
  }

  upstreamInterim(status: number, fields: Fields): void {
    // Only an early hint has fields that say anything (RFC 8297).
    const hints = status === 103 ? hintFields(fields, this.route.responseRules) : ''
    if (hints !== undefined) this.#client.interim(status, hints)
  }

  upstreamHead(head: UpstreamHead): boolean {
    const at = now()
    this.#timeline.headers = at
    this.#stage = 'response_body'
    this.#timeouts.responseByte(at)
    if (this.#client.gone) return true
    if (this.route.shared.closing) this.#client.closeAfterwards()
    this.#client.respond(responseHead(head, this.route.responseRules, this.requestId))
    return !this.#client.blocked
  }

  upstreamData(chunk: Buffer, firstOfRead: boolean): boolean {
    if (firstOfRead) this.#timeouts.responseByte()
    return this.#client.write(chunk)
  }

  upstreamReadOver(buffer: Buffer): void {
    this.#client.writeNow(buffer)
  }

  upstreamEnd(trailers: readonly string[]): void {
    this.#timeouts.responseReceived()
    this.#client.end(trailers)
    if (this.#outcome !== undefined) this.#close()
  }

  upstreamFailed(outcome: Outcome, error: Error | undefined): void {
    this.#end(outcome, this.#stage, error)
  }

  upstreamCancelled(ms: number): void {
    this.route.metrics.upstreamCancelled(ms / 1000)
  }

  timedOut(timeout: TimeoutName, outcome: Outcome, overrunMs: number): void {
    if (this.#client.handOver()) return
    if (this.#outcome === undefined) {
      this.#timeout = timeout
      this.#overrunMs = overrunMs
    }
    this.#end(outcome, this.stageNow)
  }

  // ---- the end ----

  /** The one exit. Whatever comes after the first cause is its consequence, and ignored. */
  #end(outcome: Outcome, stage: Stage | undefined, error?: Error): void {
    if (this.#outcome === undefined) {
      this.#outcome = outcome
      this.#endStage = stage
      this.#error = error
      // A head that cannot be relayed is none: the wait for headers was not over.
      if (stage === 'response_headers') this.#timeline.headers = -1
      if (outcome !== 'completed') {
        this.#upstream.cancel(GIVEN_UP)
        this.#stopClient(outcome)
      }
    }
    this.#close()
  }

  /** Before headers choose, after headers stop. */
  #stopClient(outcome: Outcome): void {
    const client = this.#client
    if (client.canAnswer) {
      // Behind what was malformed nothing is known to be a request (RFC 9112 section 9.6).
      const last = outcome === 'draining' || outcome === 'bad_request'
      if (last || this.route.shared.closing) client.closeAfterwards()
      client.reply(problem(outcome, OUTCOMES[outcome].status, this.#endStage, this.requestId))
    } else if (!client.gone) {
      client.cut()
    }
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    const at = now()
    const outcome = this.#outcome ?? 'internal_error'
    const { route } = this
    const { shared } = route
    this.#timeouts.stop()
    this.#upstream.cancel(GIVEN_UP)
    this.#body?.close()
    route.inflight.remove(this.#place)
    shared.ledger.requests.closed++
    const record = report(
      route,
      this.#client,
      this.#upstream,
      this.#timeline,
      {
        requestId: this.requestId,
        path: this.path,
        clientAddress: this.clientAddress,
        rxBytes: this.#body?.received ?? 0,
      },
      {
        outcome,
        stage: this.#endStage,
        timeout: this.#timeout,
        overrunMs: this.#overrunMs,
        error: this.#error,
        clientAbortAge: this.#clientAbortAge,
      },
      at,
    )
    route.metrics.finished(record)
    shared.finished(record)
    this.#client.connection.over(this, at)
  }
}
