/**
 * The two timeouts of a connection without an exchange: `headers`, from the first byte of a request, or the accept of a
 * connection that sends none, to the end of its headers; and `keepalive`, from the end of an exchange to the first byte of
 * the next. Ours, because Node polls the one and adds a second to the other.
 */
import { type Alarm, now, type Sleeper } from './alarm.ts'
import type { ConnectionLimits } from './client-connection.ts'

interface ConnectionClockEvents {
  headersDue(overrunMs: number): void
  idleDue(overrunMs: number): void
}

const NOTHING = 0
const ACCEPTED = 1
const HEADERS = 2
const KEEPALIVE = 3

export class ConnectionClock implements Sleeper {
  readonly #limits: ConnectionLimits
  readonly #alarm: Alarm
  readonly #events: ConnectionClockEvents
  #waitsFor = ACCEPTED
  /** Monotonic ms. */
  #since = now()

  constructor(limits: ConnectionLimits, alarm: Alarm, events: ConnectionClockEvents) {
    this.#limits = limits
    this.#alarm = alarm
    this.#events = events
    alarm.owner = this
    alarm.by(this.#dueAt())
  }

  /** Bytes of a request came, and not yet all of its head. */
  begins(): void {
    if (this.#waitsFor !== HEADERS) this.#wait(HEADERS, now())
  }

  /** An exchange is over. @param at now, monotonic ms */
  idles(at: number): void {
    this.#wait(KEEPALIVE, at)
  }

  /** A request is on. */
  stop(): void {
    this.#waitsFor = NOTHING
  }

  /** The connection is gone. */
  end(): void {
    this.#waitsFor = NOTHING
    this.#alarm.leave(this)
  }

  look(rangAt: number): void {
    if (this.#waitsFor === NOTHING) return
    const due = this.#dueAt()
    if (due > rangAt) {
      this.#alarm.by(due)
      return
    }
    const late = now() - due
    const idle = this.#waitsFor === KEEPALIVE
    this.#waitsFor = NOTHING
    if (idle) this.#events.idleDue(late)
    else this.#events.headersDue(late)
  }

  #wait(what: number, at: number): void {
    // Some exchanges end after their connection.
    if (this.#alarm.owner !== this) return
    this.#waitsFor = what
    this.#since = at
    this.#alarm.by(this.#dueAt())
  }

  #dueAt(): number {
    const { headersMs, keepaliveMs } = this.#limits
    return this.#since + (this.#waitsFor === KEEPALIVE ? keepaliveMs : headersMs)
  }
}
