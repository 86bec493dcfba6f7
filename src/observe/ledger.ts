/**
 * Double-entry books of what the gateway holds: requests, upstream slots, timers. Whoever takes something counts it,
 * whoever gives it back counts it, and the owner can say how many there are; the three must always agree. A leak then
 * shows at once, as `hopgate_accounting_imbalance`, and not after a night as a full pool.
 */

export const LEDGERS = ['requests', 'slots', 'timers'] as const
export type LedgerName = (typeof LEDGERS)[number]

/** Before an owner registers, nothing is alive: what is open then shows as imbalance, so a forgotten owner does too. */
const noneAlive = (): number => 0

/** Plain numbers that the hot path increments in place: `ledger.requests.opened++`. */
export class Ledger {
  readonly requests = { opened: 0, closed: 0, live: noneAlive }
  readonly slots = { taken: 0, returned: 0, live: noneAlive }
  readonly timers = { armed: 0, cleared: 0, live: noneAlive }

  /** Opened minus closed minus alive: positive is a leak, negative something closed twice. */
  imbalance(name: LedgerName): number {
    switch (name) {
      case 'requests':
        return this.requests.opened - this.requests.closed - this.requests.live()
      case 'slots':
        return this.slots.taken - this.slots.returned - this.slots.live()
      case 'timers':
        return this.timers.armed - this.timers.cleared - this.timers.live()
    }
  }
}
