/** The clocks of a relay on one native timer: idle, lifetime, the next ping, the next attempt to reach the backend. */
import type { WebSocketConfig } from '../config/config.ts'
import type { TimerLedger } from '../exchange/alarm.ts'
import {
  BODY_IDLE,
  type Clocked,
  CONNECT,
  type DeadlineEvents,
  Deadlines,
  REQUEST,
  RESPONSE_HEADERS,
} from '../exchange/deadlines.ts'
import type { SessionTimeout } from './session-clock.ts'

/** The places of an exchange's clock that these are kept in. */
const IDLE = BODY_IDLE
const LIFETIME = REQUEST
const PING = RESPONSE_HEADERS
const RETRY = CONNECT

export interface RelayClockEvents {
  sessionTimedOut(timeout: SessionTimeout, overrunMs: number): void
  pingDue(overrunMs: number): void
  retryDue(): void
}

export class RelayClock implements DeadlineEvents {
  readonly #deadlines: Deadlines
  readonly #idleMs: number
  readonly #pingMs: number
  readonly #events: RelayClockEvents

  constructor(config: WebSocketConfig, ledger: TimerLedger, events: RelayClockEvents) {
    this.#deadlines = new Deadlines(ledger, this)
    this.#idleMs = config.idleTimeout.value
    this.#pingMs = config.pingInterval.value
    this.#events = events
    if (config.maxLifetime.value !== Infinity) this.#deadlines.arm(LIFETIME, config.maxLifetime.value)
    if (this.#pingMs !== Infinity) this.#deadlines.arm(PING, this.#pingMs)
    this.moved()
  }

  get ticking(): boolean {
    return this.#deadlines.ticking
  }

  /** A peer has said something of its own. */
  moved(): void {
    if (this.#idleMs !== Infinity) this.#deadlines.arm(IDLE, this.#idleMs)
  }

  retryAfter(ms: number): void {
    this.#deadlines.arm(RETRY, ms)
  }

  /** It is closing: pings and timeouts have nothing more to say. */
  stop(): void {
    this.#deadlines.stop()
  }

  due(which: Clocked, overrunMs: number): void {
    if (which === IDLE) {
      this.#events.sessionTimedOut('websocket.idle_timeout', overrunMs)
    } else if (which === LIFETIME) {
      this.#events.sessionTimedOut('websocket.max_lifetime', overrunMs)
    } else if (which === RETRY) {
      this.#events.retryDue()
    } else {
      this.#deadlines.arm(PING, this.#pingMs)
      this.#events.pingDue(overrunMs)
    }
  }
}
