/** Metrics that are states, not events: asked of their owners when scraped, kept nowhere. */
import type { Registry } from 'prom-client'
import type { Config } from '../config/config.ts'
import { registerCounter, registerGauge } from './families.ts'
import { type KernelCounts, registerKernelMetrics } from './kernel-metrics.ts'
import { LEDGERS, type Ledger } from './ledger.ts'
import type { LogCounts } from './log-sink.ts'
import { registerWatchMetrics, type WatchCounts } from './watch-metrics.ts'

export interface PoolConnections {
  readonly connecting: number
  readonly active: number
  readonly idle: number
}

/** The live values, by function: asked at a scrape only, so their owners may be built after the metrics. */
export interface MetricsDeps {
  /** Of the gateway: `0.1.0`. */
  readonly version: string
  /** Of a route, or of `_none`. */
  readonly inflight: (routeName: string) => number
  /** 0 where nothing is in flight. */
  readonly oldestInflightSeconds: (routeName: string) => number
  readonly queueDepth: (upstreamName: string) => number
  readonly poolConnections: (upstreamName: string, endpointUrl: string) => PoolConnections
  /** Connections that an upstream closed while they were idle. */
  readonly idleCloses: (upstreamName: string) => number
  readonly clientConnections: () => number
  readonly log: LogCounts
  readonly ledger: Ledger
  /** What the kernel knows; absent where nobody asks it. */
  readonly kernel?: () => KernelCounts
  readonly watch?: WatchCounts
}

const POOL_STATES = ['connecting', 'active', 'idle'] as const
const LINE_CLASSES = ['access', 'event'] as const

export function registerLiveMetrics(
  registry: Registry,
  config: Config,
  deps: MetricsDeps,
  routeNames: readonly string[],
): void {
  const routes = routeNames.map(route => ({ route }))
  registerGauge(registry, 'hopgate_inflight_requests', 'Exchanges that have begun and not ended.', emit => {
    for (const labels of routes) emit(labels, deps.inflight(labels.route))
  })
  registerGauge(registry, 'hopgate_oldest_inflight_seconds', 'Age of the oldest exchange in flight; 0: none.', emit => {
    for (const labels of routes) emit(labels, deps.oldestInflightSeconds(labels.route))
  })
  const ledgers = LEDGERS.map(ledger => ({ ledger }))
  registerGauge(registry, 'hopgate_accounting_imbalance', 'Opened minus closed minus alive; must read 0.', emit => {
    for (const labels of ledgers) emit(labels, deps.ledger.imbalance(labels.ledger))
  })

  const upstreams = config.upstreams.map(({ name }) => ({ upstream: name }))
  registerGauge(registry, 'hopgate_queue_depth', 'Exchanges that wait for a connection of the upstream.', emit => {
    for (const labels of upstreams) emit(labels, deps.queueDepth(labels.upstream))
  })
  const pools = config.upstreams.flatMap(({ name, endpoints }) =>
    endpoints.map(({ url }) => ({
      upstream: name,
      url,
      states: POOL_STATES.map(state => ({ upstream: name, endpoint: url, state })),
    })),
  )
  registerGauge(registry, 'hopgate_pool_connections', 'Connections to the endpoint, by state.', emit => {
    for (const { upstream, url, states } of pools) {
      const connections = deps.poolConnections(upstream, url)
      for (const labels of states) emit(labels, connections[labels.state])
    }
  })
  registerCounter(
    registry,
    'hopgate_upstream_idle_closes_total',
    'Idle connections that the upstream closed, before our keep-alive did.',
    emit => {
      for (const labels of upstreams) emit(labels, deps.idleCloses(labels.upstream))
    },
  )
  registerGauge(registry, 'hopgate_client_connections', 'Open connections from clients.', emit => {
    emit({}, deps.clientConnections())
  })

  const classes = LINE_CLASSES.map(word => ({ class: word }))
  registerCounter(registry, 'hopgate_log_lines_total', 'Log lines handed over whole to the destination.', emit => {
    for (const labels of classes) emit(labels, deps.log.written[labels.class])
  })
  registerCounter(registry, 'hopgate_log_dropped_total', 'Log lines given up: the buffer was full.', emit => {
    for (const labels of classes) emit(labels, deps.log.dropped[labels.class])
  })
  registerGauge(registry, 'hopgate_log_sink_up', '0: the log cannot be written at present.', emit => {
    emit({}, deps.log.up ? 1 : 0)
  })
  const info = { version: deps.version, config_hash: config.hash }
  if (deps.watch !== undefined) {
    const configured = config.routes.map(({ name }) => name)
    registerWatchMetrics(registry, deps.watch, configured)
  }
  if (deps.kernel !== undefined) registerKernelMetrics(registry, deps.kernel)
  registerGauge(registry, 'hopgate_config_info', 'Always 1; what runs here.', emit => emit(info, 1))
}
