/**
 * Every metric of the contract, in one registry per gateway (never prom-client's global one: a process may run several
 * gateways). Nothing is computed while requests are served; a scrape reads the cells and asks the owners.
 */
import { Registry } from 'prom-client'
import type { Config, RouteConfig } from '../config/config.ts'
import { websocketTimeoutsOf } from '../config/effective.ts'
import { TIMEOUTS, type TimeoutName } from '../outcome.ts'
import { HistogramCell, OVERRUN_BUCKETS } from './cells.ts'
import { type ConfiguredTimeout, registerExchangeMetrics, registerTimeoutMetrics } from './exchange-metrics.ts'
import { registerCounter } from './families.ts'
import { type MetricsDeps, registerLiveMetrics } from './live-metrics.ts'
import { registerProcessMetrics } from './process-metrics.ts'
import { NO_ROUTE, RouteMetrics, SELFPROBE_ROUTE } from './route-metrics.ts'
import { registerWebSocketMetrics, WebSocketMetrics } from './websocket-metrics.ts'

const CLIENT_CONNECTION_RESULTS = ['accepted', 'refused_limit', 'header_timeout', 'parse_error'] as const
export type ClientConnectionResult = (typeof CLIENT_CONNECTION_RESULTS)[number]

/** Bound once per upstream. */
export interface UpstreamMetrics {
  /** An exchange took a connection: one that had served a request before, or a fresh one. */
  reuse(reused: boolean): void
}

export interface Metrics {
  /** The cells of a configured route, of `_none`, or of `_selfprobe` unless that is off; throws for any other name. To be called once per route, at start. */
  route(name: string): RouteMetrics
  upstream(name: string): UpstreamMetrics
  /** undefined: the route has no `websocket`. */
  websocket(name: string): WebSocketMetrics | undefined
  clientConnection(result: ClientConnectionResult): void
  readonly contentType: string
  /** The exposition text; never rejects for anything a request did. */
  text(): Promise<string>
  /** Takes every family out; `text()` is then empty. */
  close(): void
}

function routeTimeouts(route: RouteConfig, listen: Config['listen']): ConfiguredTimeout[] {
  const { timeouts } = route
  return [
    ['request', timeouts.request.value],
    ['queue', timeouts.queue.value],
    ['connect', timeouts.connect.value],
    ['request_write', timeouts.requestWrite.value],
    ['response_headers', timeouts.responseHeaders.value],
    ['body_idle', timeouts.bodyIdle.value],
    ['listen.timeouts.body_idle', listen.timeouts.bodyIdle.value],
    ['listen.timeouts.write_idle', listen.timeouts.writeIdle.value],
    ['listen.min_body_rate', null],
    ...websocketTimeoutsOf(route).map(({ name, ms }) => [name, ms] as const),
  ]
}

/** Those that can fire before it is known which route a request takes, or between two requests. */
function connectionTimeouts(listen: Config['listen']): ConfiguredTimeout[] {
  return [
    ['listen.timeouts.headers', listen.timeouts.headers.value],
    ['listen.timeouts.keepalive', listen.timeouts.keepalive.value],
  ]
}

export function createMetrics(config: Config, deps: MetricsDeps): Metrics {
  const registry = new Registry()
  const overruns = new Map<TimeoutName, HistogramCell>()
  for (const timeout of TIMEOUTS) {
    if (timeout !== 'listen.min_body_rate') overruns.set(timeout, new HistogramCell(OVERRUN_BUCKETS, { timeout }))
  }

  const routes = new Map<string, RouteMetrics>()
  const timeouts = new Map<RouteMetrics, readonly ConfiguredTimeout[]>()
  for (const route of config.routes) {
    const cells = new RouteMetrics(route.name, overruns)
    // Present from the start, so that the first request already shows as an increase.
    cells.duration('completed')
    routes.set(route.name, cells)
    timeouts.set(cells, routeTimeouts(route, config.listen))
  }
  const none = new RouteMetrics(NO_ROUTE, overruns)
  routes.set(NO_ROUTE, none)
  timeouts.set(none, connectionTimeouts(config.listen))

  const probed = config.selfprobe === null ? [] : [new RouteMetrics(SELFPROBE_ROUTE, overruns)]

  registerExchangeMetrics(registry, [...routes.values(), ...probed])
  registerTimeoutMetrics(registry, timeouts, overruns)
  registerLiveMetrics(registry, config, deps, [...routes.keys()])
  for (const cells of probed) routes.set(cells.name, cells)

  const reuses = new Map(config.upstreams.map(({ name }) => [name, reuseOf()]))
  registerCounter(registry, 'hopgate_connection_reuse_total', 'Upstream connections taken by exchanges.', emit => {
    for (const [upstream, { counts }] of reuses) {
      emit({ upstream, reused: 'true' }, counts.reused)
      emit({ upstream, reused: 'false' }, counts.fresh)
    }
  })
  const accepted: Record<ClientConnectionResult, number> = {
    accepted: 0,
    refused_limit: 0,
    header_timeout: 0,
    parse_error: 0,
  }
  registerCounter(
    registry,
    'hopgate_client_connections_total',
    'Connections from clients, by what became of them.',
    emit => {
      for (const result of CLIENT_CONNECTION_RESULTS) emit({ result }, accepted[result])
    },
  )
  const websockets = new Map<string, WebSocketMetrics>()
  for (const { name, websocket } of config.routes) {
    if (websocket !== null) websockets.set(name, new WebSocketMetrics(name, websocket.mode))
  }
  registerWebSocketMetrics(registry, [...websockets.values()])
  registerProcessMetrics(registry)

  return {
    route: name => boundTo(routes, name),
    upstream: name => boundTo(reuses, name),
    websocket: name => websockets.get(name),
    clientConnection: result => {
      accepted[result] += 1
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: () => registry.clear(),
  }
}

/** Of an upstream: its routes share it. */
function reuseOf() {
  const counts = { fresh: 0, reused: 0 }
  return {
    counts,
    reuse: (reused: boolean): void => {
      if (reused) counts.reused += 1
      else counts.fresh += 1
    },
  }
}

function boundTo<T>(cells: ReadonlyMap<string, T>, name: string): T {
  const found = cells.get(name)
  if (found === undefined) throw new Error(`no metrics for ${name}: not in the configuration`)
  return found
}
