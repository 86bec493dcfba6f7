/**
 * A named backend: its endpoints, which of them is next, and the bounded queue of exchanges that wait for a slot.
 */
import { readFileSync } from 'node:fs'
import type { UpstreamConfig } from '../config/config.ts'
import { type Place, Roster } from '../roster.ts'
import type { Connection } from './connection.ts'
import type { DialTls } from './dial.ts'
import { Endpoint, type EndpointEvents } from './endpoint.ts'

/** Who waits for a slot. */
export interface Waiter {
  slotReady(connection: Connection): void
}

/** Slots taken and returned, for the ledger. */
export interface SlotLedger {
  taken: number
  returned: number
}

export class Upstream implements EndpointEvents {
  readonly config: UpstreamConfig
  readonly endpoints: readonly Endpoint[]
  readonly #waiting = new Roster<Waiter>()
  readonly #ledger: SlotLedger
  /** Where the next search for an endpoint begins. */
  #turn = 0

  constructor(config: UpstreamConfig, ledger: SlotLedger) {
    this.config = config
    this.#ledger = ledger
    const tls: DialTls = {
      verify: config.tls.verify,
      ca: config.tls.caFile === null ? undefined : readFileSync(config.tls.caFile, 'utf8'),
      serverName: config.tls.serverName,
    }
    this.endpoints = config.endpoints.map(endpoint => new Endpoint(endpoint, config, tls, this))
  }

  /** Exchanges that wait for a slot. */
  get queued(): number {
    return this.#waiting.size
  }

  /**
   * A connection now; or a place in the queue, and `waiter.slotReady` is called later (unless `leave` is); or `full`.
   * Those who already wait go first.
   */
  acquire(waiter: Waiter): Connection | Place<Waiter> | 'full' {
    const endpoint = this.#waiting.size === 0 ? this.#choose() : undefined
    if (endpoint !== undefined) {
      this.#ledger.taken++
      return endpoint.take()
    }
    if (this.#waiting.size >= this.config.pool.queue) return 'full'
    return this.#waiting.add(waiter)
  }

  /** Leaves the queue. */
  leave(place: Place<Waiter>): void {
    this.#waiting.remove(place)
  }

  /** A fresh connection in the place of `stale`, which is gone: its slot goes over to the replay of its exchange. */
  replace(stale: Connection): Connection {
    const fresh = stale.endpoint.replace(stale)
    stale.ended()
    this.#ledger.taken++
    return fresh
  }

  slotFree(endpoint: Endpoint): void {
    while (endpoint.hasSlot) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#ledger.taken++
      next.slotReady(endpoint.take())
    }
  }

  slotReturned(): void {
    this.#ledger.returned++
  }

  /** The far ends of the connections that are open now. */
  remotes(): { address: string; port: number }[] {
    return this.endpoints.flatMap(endpoint => endpoint.remotes())
  }

  close(): void {
    for (const endpoint of this.endpoints) endpoint.close()
  }

  #choose(): Endpoint | undefined {
    const { endpoints } = this
    const n = endpoints.length
    const leastRequest = this.config.balance === 'least_request'
    let chosen: Endpoint | undefined
    for (let i = 0; i < n; i++) {
      const endpoint = endpoints[(this.#turn + i) % n] as Endpoint
      if (!endpoint.hasSlot) continue
      if (chosen === undefined || endpoint.borrowed < chosen.borrowed) chosen = endpoint
      if (!leastRequest) break
    }
    // From the one after the chosen: equal loads rotate, and round_robin is a rotation.
    if (chosen !== undefined && n > 1) this.#turn = (endpoints.indexOf(chosen) + 1) % n
    return chosen
  }
}
