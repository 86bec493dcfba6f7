/** One address of an upstream: its connections, counted, and which of them are free. */
import type { EndpointConfig, UpstreamConfig } from '../config/config.ts'
import { Roster } from '../roster.ts'
import { Connection, type ConnectionState } from './connection.ts'
import type { DialTls } from './dial.ts'

/** What an endpoint tells its upstream. */
export interface EndpointEvents {
  /** A slot of `endpoint` may be free: whoever waits is next. */
  slotFree(endpoint: Endpoint): void
  /** A borrowed slot was given back (for the ledger). */
  slotReturned(): void
}

export class Endpoint {
  readonly config: EndpointConfig
  readonly pool: UpstreamConfig['pool']
  readonly tls: DialTls | undefined
  /** Connections that an exchange uses now. */
  borrowed = 0
  /** Connections that the endpoint closed while they were idle: before our keep-alive had passed, or we would have. */
  idleCloses = 0
  /** Every connection that is dialling, in use or idle. */
  readonly #open = new Roster<Connection>()
  /** The idle ones, most recently used last: the warmest is reused first, the others age out. */
  readonly #idle: Connection[] = []
  readonly #events: EndpointEvents

  constructor(config: EndpointConfig, upstream: UpstreamConfig, tls: DialTls | undefined, events: EndpointEvents) {
    this.config = config
    this.pool = upstream.pool
    this.tls = config.tls ? tls : undefined
    this.#events = events
  }

  get hasSlot(): boolean {
    return this.#idle.length > 0 || this.#open.size < this.pool.maxConnections
  }

  /** A connection to use now: the warmest idle one, else a new one. Only where `hasSlot`. */
  take(): Connection {
    return this.#idle.pop() ?? this.takeFresh()
  }

  /** A connection that has not been used before; in place of an idle one where all are taken. */
  takeFresh(): Connection {
    if (this.#open.size >= this.pool.maxConnections) {
      const oldest = this.#idle.shift()
      if (oldest !== undefined) {
        this.#open.remove(oldest.place)
        oldest.retire()
      }
    }
    const connection = new Connection(this)
    connection.place = this.#open.add(connection)
    return connection
  }

  /** A connection that takes over the slot of `stale`, which has failed. */
  replace(stale: Connection): Connection {
    this.#open.remove(stale.place)
    return this.takeFresh()
  }

  /** `connection` served its exchange and can serve another. */
  connectionFree(connection: Connection): void {
    this.#idle.push(connection)
    this.#events.slotFree(this)
  }

  connectionClosed(connection: Connection): void {
    const at = this.#idle.indexOf(connection)
    if (at !== -1) {
      this.#idle.splice(at, 1)
      if (connection.endedByPeer) this.idleCloses++
    }
    if (this.#open.remove(connection.place)) this.#events.slotFree(this)
  }

  slotReturned(): void {
    this.#events.slotReturned()
  }

  count(state: ConnectionState): number {
    let n = 0
    for (const connection of this.#open) if (connection.state === state) n++
    return n
  }

  /** Connections that hold a slot for an exchange: what the slots ledger counts as live. */
  get borrowedNow(): number {
    let n = 0
    for (const connection of this.#open) if (connection.borrowed) n++
    return n
  }

  /** The far ends of the connections that are open now: what the name of the endpoint stands for. */
  remotes(): { address: string; port: number }[] {
    const ends = new Map<string, { address: string; port: number }>()
    for (const { rawSocket } of this.#open) {
      const { remoteAddress: address, remotePort: port } = rawSocket ?? {}
      if (address !== undefined && port !== undefined) ends.set(address, { address, port })
    }
    return [...ends.values()]
  }

  close(): void {
    for (const connection of this.#open) {
      if (!connection.borrowed) connection.retire()
    }
  }
}
