/** One attempt to reach a backend again: the same slots, queue and timeouts as the first handshake, and one result. */
import type { Socket } from 'node:net'
import { now } from '../exchange/alarm.ts'
import type { RouteLimits } from '../exchange/route.ts'
import type { SocketTable } from '../exchange/socket-table.ts'
import { type TimeoutEvents, Timeouts } from '../exchange/timeouts.ts'
import { type UpstreamEvents, UpstreamSide } from '../exchange/upstream-side.ts'
import { NOT_HTTP } from '../http1/fields.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import type { Outcome, TimeoutName } from '../outcome.ts'
import type { Connection } from '../upstream/connection.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { RelayHandshake } from './handshake.ts'

export interface ReconnectionDeps {
  readonly upstream: Upstream
  readonly limits: RouteLimits
  readonly timers: ConstructorParameters<typeof Timeouts>[1]
  readonly table: SocketTable
  readonly handshake: RelayHandshake
  /** With a key of its own at each call. */
  request(): UpstreamRequest
  reuse(reused: boolean): void
}

export interface ReconnectionEvents {
  reconnected(side: UpstreamSide, connection: Connection, socket: Socket, protocol: string): void
  reconnectionFailed(error: Error): void
}

const GIVEN_UP = Object.assign(new Error('the gateway gave the attempt up'), { code: 'HOPGATE_GIVEN_UP' })

export class Reconnection implements UpstreamEvents, TimeoutEvents {
  readonly #deps: ReconnectionDeps
  readonly #events: ReconnectionEvents
  readonly #side: UpstreamSide
  readonly #timeouts: Timeouts
  readonly #startedAt = now()
  #over = false

  constructor(deps: ReconnectionDeps, events: ReconnectionEvents) {
    this.#deps = deps
    this.#events = events
    this.#side = new UpstreamSide(deps.upstream, this)
    this.#timeouts = new Timeouts(deps.limits, deps.timers, deps.table, this)
  }

  get ticking(): boolean {
    return this.#timeouts.ticking
  }

  start(): void {
    this.#timeouts.requestReceived(this.#startedAt)
    this.#side.start(this.#deps.request())
  }

  /** Nobody wants it any more. */
  cancel(): void {
    this.#over = true
    this.#timeouts.stop()
    this.#side.cancel(GIVEN_UP)
  }

  upstreamQueued(): void {
    this.#timeouts.queued(this.#startedAt)
  }

  upstreamSlot(): void {
    this.#timeouts.slotTaken()
  }

  upstreamDialling(): void {
    this.#timeouts.dialling()
  }

  upstreamConnected(): void {
    this.#timeouts.connected()
    this.#deps.reuse(this.#side.reused)
  }

  upstreamRequestSent(): void {
    this.#timeouts.requestSent(now())
  }

  upstreamInterim(): void {}

  upstreamHead({ status }: UpstreamHead): boolean {
    this.#fail(Object.assign(new Error(`the upstream answered ${status}`), { code: 'HOPGATE_REFUSED' }))
    return true
  }

  upstreamData(): boolean {
    return true
  }

  upstreamReadOver(): void {}

  upstreamEnd(): void {}

  upstreamUpgraded(head: UpstreamHead, socket: Socket): void {
    const { connection } = this.#side
    if (this.#over || connection === undefined) return
    const protocol = this.#deps.handshake.accepted(head)
    if (protocol === undefined) {
      this.#fail(Object.assign(new Error('a 101 that is no handshake of WebSocket'), { code: NOT_HTTP }))
      return
    }
    this.#over = true
    this.#timeouts.stop()
    this.#events.reconnected(this.#side, connection, socket, protocol)
  }

  upstreamFailed(outcome: Outcome, error: Error | undefined): void {
    this.#fail(error ?? Object.assign(new Error(outcome), { code: outcome }))
  }

  upstreamCancelled(): void {}

  timedOut(timeout: TimeoutName, outcome: Outcome): void {
    this.#fail(Object.assign(new Error(`${timeout} ran out`), { code: outcome }))
  }

  #fail(error: Error): void {
    if (this.#over) return
    this.cancel()
    this.#events.reconnectionFailed(error)
  }
}
