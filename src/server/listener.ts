/** The listening socket and its connections: how many, who, and what is counted of them. */
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { type AddressInfo, createServer, isIP, type Server } from 'node:net'
import type { ListenConfig } from '../config/config.ts'
import { ClientConnection, type ConnectionEvents, type ConnectionLimits } from '../exchange/client-connection.ts'
import { peerOf } from '../exchange/peer.ts'
import type { Shared } from '../exchange/route.ts'
import type { Metrics } from '../observe/metrics.ts'
import { NO_ROUTE } from '../observe/route-metrics.ts'
import { Roster } from '../roster.ts'
import type { SelfProbe } from '../watch/self-probe.ts'
import { type Accepted, type Peername, socketOf, takeAccepted } from './accept.ts'

export interface ListenerDeps {
  readonly shared: Shared
  readonly metrics: Metrics
  /** undefined: it is off. */
  readonly probe: SelfProbe | undefined
}

export class Listener {
  /** One for each address that the configured name stands for: `localhost` is 127.0.0.1 and ::1. */
  readonly #servers: Server[] = []
  /** The self-probe's: no clients. */
  readonly probes = new Set<ClientConnection>()
  readonly #connections = new Roster<ClientConnection>()
  readonly #listen: ListenConfig
  readonly #deps: ListenerDeps
  readonly #events: ConnectionEvents
  readonly #limits: ConnectionLimits
  #port = 0
  #empty: (() => void) | undefined

  constructor(
    listen: ListenConfig,
    deps: ListenerDeps,
    events: Pick<ConnectionEvents, 'request' | 'malformed' | 'headersTimedOut'>,
  ) {
    this.#listen = listen
    this.#deps = deps
    const { headers, keepalive } = listen.timeouts
    this.#limits = { headBytes: listen.maxHeaderBytes, headersMs: headers.value, keepaliveMs: keepalive.value }
    const none = deps.metrics.route(NO_ROUTE)
    this.#events = {
      ...events,
      idleClosed: overrunMs => none.timeoutFired('listen.timeouts.keepalive', overrunMs),
      closed: connection => this.#closed(connection),
    }
  }

  /** Clients that are connected. */
  get size(): number {
    return this.#connections.size
  }

  /** Of these connections, how many have a native timer set. */
  get timers(): number {
    return [...this.#connections, ...this.probes].filter(({ alarm }) => alarm.isSet).length
  }

  /** @throws what keeps it from listening, as Node reports it */
  async open(): Promise<AddressInfo> {
    const { host, port } = this.#listen.address
    const [first, ...others] = isIP(host) === 0 ? await lookup(host, { all: true }) : [{ address: host }]
    const bound = await this.#bind(first?.address ?? host, port)
    this.#port = bound.port
    // A name may stand for addresses that this machine has not: an IPv6 that is switched off.
    await Promise.allSettled(others.map(({ address }) => this.#bind(address, bound.port)))
    return bound
  }

  /** Takes no new connections, and closes those that idle. */
  stopAccepting(): void {
    for (const server of this.#servers) server.close()
    for (const connection of this.#connections) if (connection.idle) connection.socket.destroy()
  }

  /** Destroys every connection that is left, and is done when they are closed. */
  async close(): Promise<void> {
    for (const server of this.#servers) server.close()
    for (const { socket } of [...this.#connections, ...this.probes]) socket.destroy()
    if (this.#connections.size + this.probes.size === 0) return
    await new Promise<void>(resolve => {
      this.#empty = resolve
    })
  }

  async #bind(host: string, port: number): Promise<AddressInfo> {
    const server = createServer()
    server.listen({ host, port, backlog: this.#listen.backlog })
    await once(server, 'listening')
    this.#servers.push(server)
    takeAccepted(server, accepted => this.#accept(accepted))
    return server.address() as AddressInfo
  }

  #accept(accepted: Accepted): void {
    const { shared, metrics, probe } = this.#deps
    if (this.size >= this.#listen.maxConnections) {
      const name: Peername = {}
      accepted.getpeername(name)
      accepted.close()
      if (probe?.owns({ remotePort: name.port, remoteAddress: name.address })) probe.refusedAtLimit()
      else metrics.clientConnection('refused_limit')
      return
    }
    const connection = new ClientConnection(
      onread => {
        const socket = socketOf(accepted, onread)
        return { socket, peer: peerOf(socket, shared.isTrusted, this.#port) }
      },
      this.#limits,
      shared.ledger.timers,
      shared.vanished,
      this.#events,
    )
    if (probe?.owns(connection.socket)) {
      this.probes.add(connection)
      return
    }
    connection.place = this.#connections.add(connection)
    metrics.clientConnection('accepted')
  }

  #closed(connection: ClientConnection): void {
    if (!this.#connections.remove(connection.place)) this.probes.delete(connection)
    if (this.#connections.size + this.probes.size === 0) this.#empty?.()
  }
}
