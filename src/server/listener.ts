/** The listening socket and its connections: how many, who, and what is counted of them. */
import { createServer, type Server, type Socket } from 'node:net'
import type { ListenConfig } from '../config/config.ts'
import { ClientConnection, type ConnectionEvents, type ConnectionLimits } from '../exchange/client-connection.ts'
import { peerOf } from '../exchange/peer.ts'
import type { Shared } from '../exchange/route.ts'
import type { Metrics } from '../observe/metrics.ts'
import { NO_ROUTE } from '../observe/route-metrics.ts'
import { Roster } from '../roster.ts'
import type { SelfProbe } from '../watch/self-probe.ts'

export interface ListenerDeps {
  readonly shared: Shared
  readonly metrics: Metrics
  /** undefined: it is off. */
  readonly probe: SelfProbe | undefined
}

export class Listener {
  readonly server: Server
  /** The self-probe's: no clients. */
  readonly probes = new Set<ClientConnection>()
  readonly #connections = new Roster<ClientConnection>()
  readonly #listen: ListenConfig
  readonly #deps: ListenerDeps
  readonly #events: ConnectionEvents
  readonly #limits: ConnectionLimits
  #port = 0

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
    // A client's FIN is one direction's end: what follows from it is the exchange's to say, and the tunnel's.
    this.server = createServer({ noDelay: true, allowHalfOpen: true }, socket => this.#accept(socket))
    this.server.maxConnections = listen.maxConnections
    this.server.on('drop', dropped => {
      if (dropped !== undefined && deps.probe?.owns(dropped)) deps.probe.refusedAtLimit()
      else deps.metrics.clientConnection('refused_limit')
    })
  }

  /** Clients that are connected. */
  get size(): number {
    return this.#connections.size
  }

  /** @throws what keeps it from listening, as Node reports it */
  async open(): Promise<void> {
    const { server } = this
    const { address, backlog } = this.#listen
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ ...address, backlog }, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
    const bound = server.address()
    this.#port = typeof bound === 'object' && bound !== null ? bound.port : 0
  }

  closeIdle(): void {
    for (const connection of this.#connections) if (connection.idle) connection.socket.destroy()
  }

  closeAll(): void {
    for (const { socket } of [...this.#connections, ...this.probes]) socket.destroy()
  }

  #accept(socket: Socket): void {
    const { shared, metrics, probe } = this.#deps
    const peer = peerOf(socket, shared.isTrusted, this.#port)
    const connection = new ClientConnection(socket, peer, this.#limits, shared.vanished, this.#events)
    if (probe?.owns(socket)) {
      // Beside the limit, which is for clients.
      this.server.maxConnections = this.#listen.maxConnections + 1
      this.probes.add(connection)
      return
    }
    connection.place = this.#connections.add(connection)
    metrics.clientConnection('accepted')
  }

  #closed(connection: ClientConnection): void {
    if (this.#connections.remove(connection.place)) return
    this.probes.delete(connection)
    this.server.maxConnections = this.#listen.maxConnections
  }
}
