/**
 * One native timer for the timeouts of a connection and of the exchange that it carries. It is only ever moved to an earlier
 * time: what moves a timeout into the future is a store, and whoever waits looks again when it rings. So a connection
 * sets it once for the thousands of exchanges that it serves until then.
 */
import { performance } from 'node:perf_hooks'

/** Native timers set and cleared, for the ledger: a timer that is never cleared is a leak that shows. */
export interface TimerLedger {
  armed: number
  cleared: number
}

/** Who has timeouts, and is woken by the alarm. */
export interface Sleeper {
  /** @param rangAt what was due by then is due; for the rest the alarm is to be set anew. Monotonic ms */
  look(rangAt: number): void
}

/** Monotonic milliseconds. */
export const now = (): number => performance.now()

export class Alarm {
  /** The connection, and the exchange that is on: which may outlive it. The last to go turns it off (`leave`). */
  owner: Sleeper | undefined
  guest: Sleeper | undefined
  readonly #ledger: TimerLedger
  #timer: NodeJS.Timeout | undefined
  /** When it will ring; Infinity: it is not set. */
  #at = Infinity

  constructor(ledger: TimerLedger) {
    this.#ledger = ledger
  }

  get isSet(): boolean {
    return this.#timer !== undefined
  }

  /** Rings at `due`, monotonic ms, or earlier; Infinity: whenever. */
  by(due: number): void {
    if (due >= this.#at) return
    this.#clear()
    this.#at = due
    this.#ledger.armed++
    // At least 1 ms: a timer of 0 that finds itself a fraction of a millisecond early would spin.
    this.#timer = setTimeout(ring, Math.max(1, Math.ceil(due - now())), this)
  }

  /** @param sleeper the owner or the guest, who wants to be woken no more */
  leave(sleeper: Sleeper): void {
    if (this.owner === sleeper) this.owner = undefined
    else if (this.guest === sleeper) this.guest = undefined
    if (this.owner === undefined && this.guest === undefined) this.#clear()
  }

  /** What the native timer does; public to `ring` only. */
  ring(): void {
    this.#clear()
    // After a stall of the process the timer phase runs before the sockets are read (stack fact 32), and an answer that already
    // sits in the socket would become a false timeout: the poll phase passes first.
    setImmediate(look, this, now())
  }

  #clear(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#at = Infinity
    this.#ledger.cleared++
  }
}

function ring(alarm: Alarm): void {
  alarm.ring()
}

function look({ guest, owner }: Alarm, rangAt: number): void {
  guest?.look(rangAt)
  owner?.look(rangAt)
}
