/** A configured route with everything its exchanges need, bound once at start: the hot path looks nothing up. */
import type { Socket } from 'node:net'
import type { Config, RouteConfig, WebSocketConfig } from '../config/config.ts'
import type { Ledger } from '../observe/ledger.ts'
import { type ExchangeRecord, Whereabouts } from '../observe/record.ts'
import type { RouteMetrics } from '../observe/route-metrics.ts'
import type { WebSocketMetrics } from '../observe/websocket-metrics.ts'
import type { Stage } from '../outcome.ts'
import { Roster } from '../roster.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Intern } from './interner.ts'
import type { IsTrusted } from './peer.ts'
import { type RequestRules, requestRules } from './request-head.ts'
import { type ResponseRules, responseRules } from './response-head.ts'
import type { SocketTable } from './socket-table.ts'
import type { Timeline } from './timeline.ts'
import type { Timeouts } from './timeouts.ts'
import type { Vanished } from './vanished.ts'

/** What all exchanges of one gateway share. */
export interface Shared {
  readonly ledger: Ledger
  readonly isTrusted: IsTrusted
  readonly newId: () => string
  /** Of this instance, in `Via`: no host name, and none that another instance has. */
  readonly pseudonym: string
  readonly table: SocketTable
  readonly vanished: Vanished
  /** Called with every finished exchange, after its metrics. */
  readonly finished: (record: ExchangeRecord) => void
  /** Responses carry `Connection: close`: the gateway is about to stop. */
  closing: boolean
  /** New exchanges are refused. */
  draining: boolean
}

/** Effective values in ms; Infinity: off. */
export interface RouteLimits {
  readonly request: number
  readonly queue: number
  readonly connect: number
  readonly requestWrite: number
  readonly responseHeaders: number
  readonly bodyIdle: number
  readonly clientBodyIdle: number
  readonly clientWriteIdle: number
  readonly minBodyRate: { readonly bytesPerMs: number; readonly graceMs: number } | null
  readonly bodyBytes: number
  readonly inFlight: number
}

/** What those see who watch over an exchange: they change nothing. */
export interface Inside {
  readonly timeouts: Timeouts
  readonly timeline: Timeline
  readonly hasBody: boolean
}

/** Whatever is under way on a route: an exchange, or a WebSocket. */
export interface InFlight {
  readonly requestId: string
  readonly stageNow: Stage
  readonly method: string
  readonly path: string
  readonly clientAddress: string
  readonly endpointUrl: string
  readonly route: BoundRoute
  readonly socket: Socket
  readonly upstreamSocket?: Socket | undefined
  /** Of an exchange, for those who watch over it. A WebSocket has none: it outlives every deadline of an exchange. */
  readonly inside?: Inside
  /** Where there is no `inside`: a native timer is set. */
  readonly ticking?: boolean
  /** 'tunnel' or 'relay'; an exchange has none. */
  readonly websocketMode?: WebSocketConfig['mode']
  ageMs(at: number): number
  /** The gateway takes nothing new: what would never end by itself ends now, in good order. */
  drain?(): void
  /** The gateway stops: it is cut. */
  drainKill(): void
}

export interface BoundRoute {
  readonly name: string
  readonly config: RouteConfig
  readonly upstreamName: string
  readonly upstream: Upstream
  readonly metrics: RouteMetrics
  readonly shared: Shared
  readonly limits: RouteLimits
  readonly requestRules: RequestRules
  readonly responseRules: ResponseRules
  readonly finishOnAbort: boolean
  /** Oldest first. */
  readonly inflight: Roster<InFlight>
  /** null: the route has no `websocket`. */
  readonly websocket: { readonly config: WebSocketConfig; readonly metrics: WebSocketMetrics } | null
  /** What `Host` says to the upstream. */
  readonly host: RouteConfig['rewrite']['host']
  /** Of its access lines. */
  readonly where: Whereabouts
  /** Counts a connection that was taken: used before, or fresh. */
  readonly reuse: (reused: boolean) => void
  /** The request target for the upstream. */
  rewrite(target: string): string
}

export function bindRoute(
  route: RouteConfig,
  config: Config,
  upstream: Upstream,
  metrics: RouteMetrics,
  websocketMetrics: WebSocketMetrics | undefined,
  reuse: (reused: boolean) => void,
  shared: Shared,
  intern: Intern,
): BoundRoute {
  const { timeouts } = route
  const { listen } = config
  const { pseudonym } = shared
  const limits: RouteLimits = {
    request: timeouts.request.value,
    queue: timeouts.queue.value,
    connect: timeouts.connect.value,
    requestWrite: timeouts.requestWrite.value,
    responseHeaders: timeouts.responseHeaders.value,
    bodyIdle: timeouts.bodyIdle.value,
    clientBodyIdle: listen.timeouts.bodyIdle.value,
    clientWriteIdle: listen.timeouts.writeIdle.value,
    minBodyRate:
      listen.minBodyRate === null
        ? null
        : { bytesPerMs: listen.minBodyRate.bytesPerSecond / 1000, graceMs: listen.minBodyRate.graceMs },
    bodyBytes: route.limits.bodyBytes.value,
    inFlight: route.limits.inFlight.value,
  }
  return {
    name: route.name,
    config: route,
    upstreamName: route.upstream,
    upstream,
    metrics,
    shared,
    // A limit that is off is null in a key.
    limits: intern(['limits', limits], () => limits),
    requestRules: intern(['request', route.requestHeaders], () => requestRules(route.requestHeaders, pseudonym)),
    responseRules: intern(['response', route.responseHeaders], () => responseRules(route.responseHeaders, pseudonym)),
    finishOnAbort: route.onClientAbort.value === 'finish',
    inflight: new Roster(),
    websocket:
      route.websocket === null || websocketMetrics === undefined
        ? null
        : { config: route.websocket, metrics: websocketMetrics },
    host: intern(['host', route.rewrite.host], () => route.rewrite.host),
    where: new Whereabouts(),
    reuse,
    rewrite: rewriter(route),
  }
}

const same = (target: string): string => target

/** Replaces the bytes that were matched by those that were configured; the rest of the target stays as it came. */
function rewriter({ match, rewrite }: RouteConfig): (target: string) => string {
  if (rewrite.path === null) return same
  const base = rewrite.path === '/' ? '' : rewrite.path
  const matched = match.path === '/' ? 0 : match.path.length
  return target => {
    const rest = target.slice(matched)
    return base === '' && !rest.startsWith('/') ? `/${rest}` : base + rest
  }
}
