/**
 * The clock of one exchange: any number of running timeouts on one native timer.
 *
 * A timeout is armed at its first event and disarmed at its second. Moving a deadline into the future (every byte of a
 * body does) is one store: the native timer is left where it is, and when it fires early it looks again. So a plain
 * exchange costs one setTimeout and one clearTimeout, whatever its number of stages.
 */
import type { TimeoutName } from '../outcome.ts'

/** The timeouts that can run during an exchange; the index is the place in `Deadlines`. */
export const CLOCKED = [
  'listen.timeouts.body_idle',
  'listen.min_body_rate',
  'listen.timeouts.write_idle',
  'queue',
  'connect',
  'request_write',
  'response_headers',
  'body_idle',
  'request',
] as const satisfies readonly TimeoutName[]

export const CLIENT_BODY_IDLE = 0
export const MIN_BODY_RATE = 1
export const WRITE_IDLE = 2
export const QUEUE = 3
export const CONNECT = 4
export const REQUEST_WRITE = 5
export const RESPONSE_HEADERS = 6
export const BODY_IDLE = 7
export const REQUEST = 8
export type Clocked = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8

/** Native timers armed and cleared, for the ledger: a timer that is never cleared is a leak that shows. */
export interface TimerLedger {
  armed: number
  cleared: number
}

/** Monotonic milliseconds. */
export const now = (): number => performance.now()

export interface DeadlineEvents {
  /** A timeout is due, this many ms ago; it is disarmed by now. */
  due(which: Clocked, overrunMs: number): void
}

export class Deadlines {
  /** The instant at which each timeout is due, monotonic ms; Infinity: not running. */
  readonly #due: number[] = [Infinity, Infinity, Infinity, Infinity, Infinity, Infinity, Infinity, Infinity, Infinity]
  #timer: NodeJS.Timeout | undefined
  /** When the native timer will look; Infinity: it is not set. */
  #looksAt = Infinity
  #stopped = false
  readonly #ledger: TimerLedger
  readonly #events: DeadlineEvents

  constructor(ledger: TimerLedger, events: DeadlineEvents) {
    this.#ledger = ledger
    this.#events = events
  }

  /** True while a native timer is set: what the timers ledger counts as live. */
  get ticking(): boolean {
    return this.#timer !== undefined
  }

  /**
   * Starts or restarts a timeout of `ms` from `at`; Infinity (`off`) disarms it.
   * @param soonestMs of the timeouts that will follow: the native timer is set for then, once, instead of for each
   */
  arm(which: Clocked, ms: number, at: number = now(), soonestMs: number = ms): void {
    const due = at + ms
    this.#due[which] = due
    const looksAt = Math.min(due, at + soonestMs)
    // Not `ms`: `at` may lie in the past.
    if (looksAt < this.#looksAt && !this.#stopped) this.#set(looksAt, looksAt - now())
  }

  disarm(which: Clocked): void {
    this.#due[which] = Infinity
  }

  running(which: Clocked): boolean {
    return this.#due[which] !== Infinity
  }

  /** When a timeout is due, monotonic ms; Infinity: it does not run. */
  dueAt(which: Clocked): number {
    return this.#due[which] as number
  }

  /** Ends the clock for good. */
  stop(): void {
    this.#stopped = true
    this.#clear()
  }

  #set(due: number, ms: number): void {
    this.#clear()
    this.#looksAt = due
    this.#ledger.armed++
    // At least 1 ms: a timer of 0 that finds itself a fraction of a millisecond early would spin.
    this.#timer = setTimeout(look, Math.max(1, Math.ceil(ms)), this)
  }

  #clear(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#looksAt = Infinity
    this.#ledger.cleared++
  }

  /** The timeout due first, or -1. */
  #first(): Clocked | -1 {
    let first: Clocked | -1 = -1
    let at = Infinity
    for (let i = 0; i < this.#due.length; i++) {
      const due = this.#due[i] as number
      if (due < at) {
        at = due
        first = i as Clocked
      }
    }
    return first
  }

  /** What the native timer does; public to the two functions below only. */
  look(sure: boolean): void {
    if (!sure) this.#clear()
    if (this.#stopped) return
    const first = this.#first()
    if (first === -1) return
    const due = this.#due[first] as number
    const left = due - now()
    // Node's timers keep whole milliseconds and can run a fraction of one early: never fire before time.
    if (left > 0) {
      if (due < this.#looksAt) this.#set(due, left)
      return
    }
    // After a stall of the process the timer phase runs before the sockets are read, and an answer that already sits in
    // the socket would become a false timeout: let the poll phase pass once, then look again.
    if (!sure) {
      setImmediate(lookTwice, this)
      return
    }
    this.#due[first] = Infinity
    this.#events.due(first, 0 - left)
    this.look(false)
  }
}

function look(deadlines: Deadlines): void {
  deadlines.look(false)
}

function lookTwice(deadlines: Deadlines): void {
  deadlines.look(true)
}
