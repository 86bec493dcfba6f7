/** What becomes of an upgrade that both sides have agreed to: a tunnel or a relay, as the route says. */
import type { Socket } from 'node:net'
import type { BoundRoute } from '../exchange/route.ts'
import type { UpstreamSide } from '../exchange/upstream-side.ts'
import type { Connection } from '../upstream/connection.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import { type ClientHandshake, RelayHandshake } from './handshake.ts'
import { Relay } from './relay.ts'
import type { Session, SessionEvents } from './session.ts'
import { Tunnel } from './tunnel.ts'

export interface SessionDeps {
  readonly route: BoundRoute
  readonly client: Socket
  readonly upstream: Socket
  readonly side: UpstreamSide
  readonly connection: Connection
  readonly handshake: ClientHandshake
  /** The subprotocol that the client was told. */
  readonly protocol: string
  request(): UpstreamRequest
}

export function openSession(deps: SessionDeps, events: SessionEvents): Session {
  const { route, handshake } = deps
  const { shared, websocket, limits, metrics } = route
  if (websocket === null) throw new Error(`route ${route.name} has no websocket`)
  const { config } = websocket
  const { table } = shared
  const { timers } = shared.ledger
  if (!(handshake instanceof RelayHandshake)) {
    const timeouts = { idleMs: config.idleTimeout.value, lifetimeMs: config.maxLifetime.value }
    return new Tunnel({ ...deps, timeouts, timers, table, metrics: websocket.metrics }, events)
  }
  const { request } = deps
  const { upstream, reuse } = route
  return new Relay(
    {
      ...deps,
      config,
      timers,
      metrics: websocket.metrics,
      reconnection: { upstream, limits, timers, table, handshake, request, reuse },
      pingTimedOut: overrunMs => metrics.timeoutFired('websocket.ping_interval', overrunMs),
    },
    events,
  )
}
