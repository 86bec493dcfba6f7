/**
 * The two timeouts of a connection without an exchange: `headers`, from the first byte of a request, or the accept of a
 * connection that sends none, to the end of its headers; and `keepalive`, from the end of an exchange to the first byte of
 * the next. Ours, because Node polls the one and adds a second to the other.
 *
 * One native timer, which is only moved to an earlier time: what moves a deadline into the future is a store, and the timer
 * looks again when it fires. Most connections serve thousands of requests for each time that it does.
 */
import type { ConnectionLimits } from './client-connection.ts'

interface ConnectionClockEvents {
  headersDue(overrunMs: number): void
  idleDue(overrunMs: number): void
}

const NOTHING = 0
const ACCEPTED = 1
const HEADERS = 2
const KEEPALIVE = 3

/** The longest that a timer of Node's can wait. */
const MOST_MS = 2 ** 31 - 1

export class ConnectionClock {
  readonly #limits: ConnectionLimits
  readonly #events: ConnectionClockEvents
  #waitsFor = ACCEPTED
  /** Monotonic ms. */
  #since = performance.now()
  #timer: NodeJS.Timeout | undefined
  #firesAt = Infinity

  constructor(limits: ConnectionLimits, events: ConnectionClockEvents) {
    this.#limits = limits
    this.#events = events
    this.#arm(this.#since)
  }

  /** Bytes of a request came, and not yet all of its head. */
  begins(): void {
    if (this.#waitsFor !== HEADERS) this.#wait(HEADERS)
  }

  /** An exchange is over. */
  idles(): void {
    this.#wait(KEEPALIVE)
  }

  /** A request is on. */
  stop(): void {
    this.#waitsFor = NOTHING
  }

  /** The connection is gone. */
  end(): void {
    this.#waitsFor = NOTHING
    clearTimeout(this.#timer)
  }

  #wait(what: number): void {
    this.#waitsFor = what
    this.#since = performance.now()
    this.#arm(this.#since)
  }

  get #dueAt(): number {
    const { headersMs, keepaliveMs } = this.#limits
    return this.#since + (this.#waitsFor === KEEPALIVE ? keepaliveMs : headersMs)
  }

  #arm(at: number): void {
    const due = this.#dueAt
    if (due === Infinity || this.#firesAt <= due) return
    clearTimeout(this.#timer)
    this.#firesAt = due
    this.#timer = setTimeout(look, Math.min(Math.ceil(due - at), MOST_MS), this)
  }

  look(): void {
    this.#firesAt = Infinity
    if (this.#waitsFor === NOTHING) return
    const at = performance.now()
    if (at < this.#dueAt) {
      this.#arm(at)
      return
    }
    const due = this.#dueAt
    // After a stall of the process the timers run before the sockets are read (stack fact 32): what is here by now was in
    // time as far as anybody can tell.
    setImmediate(() => {
      if (this.#waitsFor === NOTHING) return
      if (this.#dueAt !== due) {
        this.#arm(performance.now())
        return
      }
      const late = performance.now() - due
      const idle = this.#waitsFor === KEEPALIVE
      this.#waitsFor = NOTHING
      if (idle) this.#events.idleDue(late)
      else this.#events.headersDue(late)
    })
  }
}

function look(clock: ConnectionClock): void {
  clock.look()
}
