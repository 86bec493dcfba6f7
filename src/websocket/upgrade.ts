/**
 * The life of a request that asks for WebSocket: the handshake, which is an exchange like any other (the same slots,
 * timeouts and outcomes), and then, once the upstream has said 101, a session. One exit, as in an exchange.
 */
import type { Socket } from 'node:net'
import { now } from '../exchange/alarm.ts'
import type { ClientConnection, ConnectionUser } from '../exchange/client-connection.ts'
import { type ClientEvents, ClientSide } from '../exchange/client-side.ts'
import { type RequestHead, requestHead } from '../exchange/request-head.ts'
import { responseHead } from '../exchange/response-head.ts'
import type { BoundRoute, InFlight } from '../exchange/route.ts'
import { Timeline } from '../exchange/timeline.ts'
import { type TimeoutEvents, Timeouts } from '../exchange/timeouts.ts'
import { type UpstreamEvents, UpstreamSide } from '../exchange/upstream-side.ts'
import { NOT_HTTP } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import { NEVER } from '../never.ts'
import type { Outcome, Stage, TimeoutName } from '../outcome.ts'
import type { Place } from '../roster.ts'
import type { Connection } from '../upstream/connection.ts'
import type { DialStage } from '../upstream/dial.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import { EarlyBytes } from './early-bytes.ts'
import { NO_CLOSE_FRAME } from './frame-watch.ts'
import { type ClientHandshake, clientHandshake, handshakeRequest } from './handshake.ts'
import { openSession } from './open-session.ts'
import { refusedAtOnce, upgradeRefusal } from './refusal.ts'
import type { Session, SessionEnding, SessionEvents } from './session.ts'
import { headText } from './switching.ts'
import { upgradeRecord } from './upgrade-record.ts'

const GIVEN_UP = Object.assign(new Error('the gateway gave the request up'), { code: 'HOPGATE_GIVEN_UP' })

export class Upgrade implements ClientEvents, UpstreamEvents, TimeoutEvents, ConnectionUser, SessionEvents, InFlight {
  readonly route: BoundRoute
  readonly path: string
  readonly #target: string
  readonly #head: RequestHead
  readonly #client: ClientSide
  readonly #upstream: UpstreamSide
  readonly #timeouts: Timeouts
  readonly #timeline = new Timeline(now())
  readonly #early: EarlyBytes
  #handshake: ClientHandshake | undefined
  #session: Session | undefined
  /** The status of a refusal that is being relayed. */
  #refused = false
  #stage: Stage = 'route'
  #outcome: Outcome | undefined
  #ending: SessionEnding | undefined
  #endStage: Stage | undefined
  #error: Error | undefined
  #timeout: TimeoutName | undefined
  #overrunMs = NEVER
  #clientAbortAge = NEVER
  #closed = false
  #place: Place<InFlight> | undefined

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
    this.#early = new EarlyBytes(connection.socket, error => {
      if (!this.#refused) this.#end('bad_request', 'request_headers', error)
    })
    // Whatever is answered but 101 is the last on this connection, which has left HTTP.
    this.#client.closeAfterwards()
  }

  begin(): void {
    const { route } = this
    const { shared, inflight, websocket } = route
    const refusal = refusedAtOnce(route, this.#head.looped)
    shared.ledger.requests.opened++
    this.#place = inflight.add(this)
    this.#client.connection.busy(this)
    this.#client.connection.upgrade()
    if (websocket === null || refusal !== undefined) {
      this.#end(refusal ?? 'upgrade_failed', 'route')
      return
    }
    const handshake = clientHandshake(websocket.config.mode, this.#client.request.fields)
    if (typeof handshake === 'string') {
      this.#end('bad_request', 'request_headers', Object.assign(new Error(handshake), { code: 'HOPGATE_MALFORMED' }))
      return
    }
    this.#handshake = handshake
    this.#timeouts.requestReceived(this.#timeline.started)
    this.#timeline.asked = this.#timeline.started
    this.#stage = 'queue'
    this.#early.begin()
    this.#upstream.start(this.#request(handshake))
  }

  drain(): void {
    this.#session?.drain()
  }

  drainKill(): void {
    this.#stop('drain_killed')
  }

  fail(error: Error): void {
    this.#stop('internal_error', error)
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
    return this.#session?.endpointUrl ?? this.#upstream.connection?.endpoint.config.url ?? ''
  }

  get websocketMode(): 'tunnel' | 'relay' {
    return this.route.websocket?.config.mode ?? 'tunnel'
  }

  get socket(): Socket {
    return this.#client.connection.socket
  }

  ageMs(at: number): number {
    return at - this.#timeline.started
  }

  get ticking(): boolean {
    return this.#timeouts.ticking || this.#session?.ticking === true
  }

  get stageNow(): Stage {
    if (this.#stage === 'response_body' && this.#client.blocked) return 'client_write'
    return this.#stage
  }

  // ---- the client hop ----

  clientGone(): void {
    if (this.#outcome !== undefined || this.#session !== undefined) return
    this.#clientAbortAge = now() - this.#timeline.started
    this.#end('client_abort', this.stageNow)
  }

  clientDelivered(): void {
    if (this.#session !== undefined) return
    this.#end(this.#refused ? 'upgrade_failed' : 'completed', 'response_headers')
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
    // In an open tunnel a FIN is one direction's end. Before that the client has left.
    if (this.#session === undefined && !this.#client.ended) this.#client.lost()
  }

  clientClosed(): void {
    if (this.#session === undefined) this.#client.lost()
  }

  // A request for WebSocket has no body, and what follows it is no HTTP.
  clientMalformed(): void {}

  bodyData(): void {}

  bodyRead(): void {}

  bodyEnd(): void {}

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
    this.#timeline.sent = now()
    this.#stage = 'response_headers'
    this.#timeouts.requestSent(this.#timeline.sent)
  }

  upstreamInterim(): void {}

  upstreamHead(head: UpstreamHead): boolean {
    this.#timeline.headers = now()
    this.#stage = 'response_body'
    this.#timeouts.responseByte(this.#timeline.headers)
    if (this.#client.gone) return true
    this.#refused = true
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
  }

  upstreamUpgraded(upstreamHead: UpstreamHead, upstream: Socket): void {
    const { route } = this
    const { websocket, shared } = route
    const { connection } = this.#upstream
    if (this.#outcome !== undefined || websocket === null || connection === undefined) return
    this.#timeline.headers = now()
    const handshake = this.#handshake
    const head = handshake?.answer(upstreamHead, route.responseRules, this.requestId)
    if (handshake === undefined || head === undefined) {
      const error = Object.assign(new Error('a 101 that is no handshake of WebSocket'), { code: NOT_HTTP })
      this.#end('protocol_error', 'response_headers', error)
      return
    }
    const { socket } = this
    this.#timeouts.stop()
    this.#stage = 'tunnel'
    this.#client.statusSent = 101
    const early = this.#early.end()
    socket.write(headText(head.fields), 'latin1')
    websocket.metrics.open++
    this.#session = openSession(
      {
        route,
        client: socket,
        upstream,
        side: this.#upstream,
        connection,
        handshake: handshake,
        protocol: head.protocol,
        request: () => this.#request(handshake),
      },
      this,
    )
    this.#session.start(early)
    // The gateway stopped taking new ones while this one was shaking hands.
    if (shared.draining) this.#session.drain()
  }

  upstreamFailed(outcome: Outcome, error: Error | undefined): void {
    this.#end(outcome, this.#stage, error)
  }

  upstreamCancelled(ms: number): void {
    this.route.metrics.upstreamCancelled(ms / 1000)
  }

  timedOut(timeout: TimeoutName, outcome: Outcome, overrunMs: number): void {
    if (this.#outcome === undefined) {
      this.#timeout = timeout
      this.#overrunMs = overrunMs
    }
    this.#end(outcome, this.stageNow)
  }

  #request(handshake: ClientHandshake): UpstreamRequest {
    return handshakeRequest(
      this.route,
      this.#target,
      handshake.prepare(this.#head.passed),
      this.#head.added,
      this.#client.request.host,
    )
  }

  // ---- the end ----

  sessionEnded(ending: SessionEnding): void {
    if (this.#outcome !== undefined) return
    const { metrics } = this.route.websocket as NonNullable<BoundRoute['websocket']>
    metrics.open--
    metrics.ended(ending.by, ending.code)
    this.#ending = ending
    this.#timeout = ending.timeout
    this.#overrunMs = ending.overrunMs ?? 0
    this.#end(ending.outcome, 'tunnel', ending.error)
  }

  #end(outcome: Outcome, stage: Stage | undefined, error?: Error): void {
    if (this.#outcome === undefined) {
      this.#outcome = outcome
      this.#endStage = stage
      this.#error = error
      if (stage === 'response_headers' && !this.#refused) this.#timeline.headers = -1
      if (outcome === 'tunnel_closed') this.#upstream.finish()
      else if (!this.#client.ended) {
        this.#upstream.cancel(GIVEN_UP)
        if (this.#session === undefined) this.#stopClient(outcome)
      }
    }
    this.#close()
  }

  /** The gateway cuts it, in whatever state it is. */
  #stop(outcome: 'drain_killed' | 'internal_error', error?: Error): void {
    if (this.#session === undefined) this.#end(outcome, this.stageNow, error)
    else this.#session.kill({ outcome, party: 'gateway', by: 'gateway', code: NO_CLOSE_FRAME, error })
  }

  #stopClient(outcome: Outcome): void {
    const client = this.#client
    if (client.canAnswer) {
      client.reply(upgradeRefusal(outcome, this.#endStage, this.requestId))
    } else if (!client.gone) {
      client.cut()
    }
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    const { route } = this
    const { shared } = route
    this.#timeouts.stop()
    this.#upstream.cancel(GIVEN_UP)
    route.inflight.remove(this.#place)
    shared.ledger.requests.closed++
    const record = upgradeRecord(
      {
        route,
        client: this.#client,
        upstream: this.#upstream,
        timeline: this.#timeline,
        session: this.#session,
        requestId: this.requestId,
        path: this.path,
        clientAddress: this.clientAddress,
        refused: this.#refused,
      },
      {
        outcome: this.#outcome ?? 'internal_error',
        stage: this.#endStage,
        timeout: this.#timeout,
        overrunMs: this.#overrunMs,
        error: this.#error,
        clientAbortAge: this.#clientAbortAge,
      },
      this.#ending,
      now(),
    )
    route.metrics.finished(record)
    shared.finished(record)
    this.#client.connection.over(this)
  }
}
