/**
 * The clock of one exchange: any number of running timeouts on one native timer, which is mostly set already (`Alarm`).
 *
 * A timeout is armed at its first event and disarmed at its second. Moving a deadline into the future (every byte of a
 * body does) is one store.
 */
import type { TimeoutName } from '../outcome.ts'
import { Alarm, now, type Sleeper, type TimerLedger } from './alarm.ts'

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

export interface DeadlineEvents {
  /** A timeout is due, this many ms ago; it is disarmed by now. */
  due(which: Clocked, overrunMs: number): void
}

export class Deadlines implements Sleeper {
  /** The instant at which each timeout is due, monotonic ms; Infinity: not running. */
  readonly #due: number[] = [Infinity, Infinity, Infinity, Infinity, Infinity, Infinity, Infinity, Infinity, Infinity]
  readonly #alarm: Alarm
  readonly #events: DeadlineEvents
  #stopped = false

  /** @param clock the alarm of the connection; or the ledger of one of its own */
  constructor(clock: Alarm | TimerLedger, events: DeadlineEvents) {
    this.#alarm = clock instanceof Alarm ? clock : new Alarm(clock)
    this.#alarm.guest = this
    this.#events = events
  }

  /** True while a native timer is set for this clock alone: what the timers ledger counts as live, beside those of connections. */
  get ticking(): boolean {
    return this.#alarm.owner === undefined && this.#alarm.isSet && !this.#stopped
  }

  /**
   * Starts or restarts a timeout of `ms` from `at`; Infinity (`off`) disarms it.
   * @param soonestMs of the timeouts that will follow: the native timer is set for then, once, instead of for each
   */
  arm(which: Clocked, ms: number, at: number = now(), soonestMs: number = ms): void {
    const due = at + ms
    this.#due[which] = due
    if (!this.#stopped) this.#alarm.by(Math.min(due, at + soonestMs))
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
    if (this.#stopped) return
    this.#stopped = true
    this.#alarm.leave(this)
  }

  look(rangAt: number): void {
    while (!this.#stopped) {
      const first = this.#first()
      if (first === -1) return
      const due = this.#due[first] as number
      // Node's timers keep whole milliseconds and can run a fraction of one early: never fire before time.
      if (due > rangAt) {
        this.#alarm.by(due)
        return
      }
      this.#due[first] = Infinity
      this.#events.due(first, now() - due)
    }
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
}
