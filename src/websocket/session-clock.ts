/**
 * The two timeouts of an open WebSocket, idle and lifetime, on one native timer. The clock is that of an exchange
 * (`Deadlines`): moving the idle deadline, as every chunk does, is one store, and the poll phase passes once more before
 * a timeout is declared.
 *
 * While one side does not take what is written to it, its own progress counts as movement: the kernel is asked
 * (`FlushWatch`), because a peer that reads steadily, but less than a send buffer within the timeout, is not idle.
 */
import type { Socket } from 'node:net'
import { now, type TimerLedger } from '../exchange/alarm.ts'
import {
  BODY_IDLE,
  type Clocked,
  type DeadlineEvents,
  Deadlines,
  REQUEST,
  REQUEST_WRITE,
  WRITE_IDLE,
} from '../exchange/deadlines.ts'
import { FlushWatch } from '../exchange/flush-watch.ts'
import type { SocketTable } from '../exchange/socket-table.ts'

/** The places of an exchange's clock that these are kept in. */
const IDLE = BODY_IDLE
const LIFETIME = REQUEST
const TO_CLIENT = WRITE_IDLE
const TO_UPSTREAM = REQUEST_WRITE

/** How soon a side that takes nothing is looked at again while the other still does, ms. */
const LOOK_AGAIN_MS = 250

export type SessionTimeout = 'websocket.idle_timeout' | 'websocket.max_lifetime'

export interface SessionClockEvents {
  sessionTimedOut(timeout: SessionTimeout, overrunMs: number): void
}

export interface SessionTimeouts {
  /** ms; Infinity: off. */
  readonly idleMs: number
  readonly lifetimeMs: number
}

export class SessionClock implements DeadlineEvents {
  readonly #idleMs: number
  readonly #deadlines: Deadlines
  readonly #toClient: FlushWatch
  readonly #toUpstream: FlushWatch
  readonly #events: SessionClockEvents
  #movedAt = now()

  constructor(timeouts: SessionTimeouts, ledger: TimerLedger, table: SocketTable, events: SessionClockEvents) {
    this.#idleMs = timeouts.idleMs
    this.#events = events
    this.#deadlines = new Deadlines(ledger, this)
    this.#toClient = new FlushWatch(this.#deadlines, TO_CLIENT, timeouts.idleMs, table)
    this.#toUpstream = new FlushWatch(this.#deadlines, TO_UPSTREAM, timeouts.idleMs, table)
    if (timeouts.lifetimeMs !== Infinity) this.#deadlines.arm(LIFETIME, timeouts.lifetimeMs, this.#movedAt)
    this.moved()
  }

  get ticking(): boolean {
    return this.#deadlines.ticking
  }

  /** Bytes moved, in either direction. */
  moved(): void {
    this.#movedAt = now()
    if (this.#idleMs === Infinity || this.#blocked) return
    this.#deadlines.arm(IDLE, this.#idleMs, this.#movedAt)
  }

  /** `socket` takes no more for now. */
  blocked(side: 'client' | 'upstream', socket: Socket): void {
    if (this.#idleMs === Infinity) return
    this.#deadlines.disarm(IDLE)
    const watch = side === 'client' ? this.#toClient : this.#toUpstream
    watch.start(socket)
  }

  /** It has taken all that waited. */
  drained(side: 'client' | 'upstream'): void {
    const watch = side === 'client' ? this.#toClient : this.#toUpstream
    watch.stop()
    this.moved()
  }

  stop(): void {
    this.#deadlines.stop()
  }

  due(which: Clocked, overrunMs: number): void {
    if (which === LIFETIME) this.#events.sessionTimedOut('websocket.max_lifetime', overrunMs)
    else if (which === IDLE) this.#events.sessionTimedOut('websocket.idle_timeout', overrunMs)
    else this.#stuck(which)
  }

  get #blocked(): boolean {
    return this.#toClient.watching || this.#toUpstream.watching
  }

  /** One side has taken nothing for the whole timeout: idle, unless the other direction moved. */
  #stuck(which: Clocked): void {
    const [watch, other] = which === TO_CLIENT ? [this.#toClient, this.#toUpstream] : [this.#toUpstream, this.#toClient]
    const late = watch.look()
    if (late < 0) return
    const sinceMoved = now() - this.#movedAt
    const left = this.#idleMs - sinceMoved
    if (left > 0) {
      this.#deadlines.arm(which, Math.min(left, LOOK_AGAIN_MS))
      return
    }
    if (other.watching && other.look() < 0) {
      this.#deadlines.arm(which, LOOK_AGAIN_MS)
      return
    }
    this.#events.sessionTimedOut('websocket.idle_timeout', Math.min(late, -left))
  }
}
