/** What the live page is told: once what does not change, then every second how it stands. */
import type { Config } from '../config/config.ts'
import { effectiveTimeouts, listenTimeoutsOf } from '../config/effective.ts'
import type { BoundRoute, InFlight } from '../exchange/route.ts'
import { plain } from '../explain/facts.ts'
import { LEDGERS, type Ledger } from '../observe/ledger.ts'
import type { LogCounts } from '../observe/log-sink.ts'
import { NO_ROUTE, type RouteMetrics } from '../observe/route-metrics.ts'
import { TIMEOUTS, type TimeoutName } from '../outcome.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { OF_CONNECTIONS } from '../watch/debug-pages.ts'
import type { Watch } from '../watch/watch.ts'
import { BANDS } from './bands.ts'
import { SAMPLE_MS, SAMPLES, totalsOf } from './history.ts'

export interface LiveParts {
  readonly config: Config
  readonly version: string
  /** Of each configured route, in the order of the configuration. */
  readonly routes: readonly BoundRoute[]
  /** Of exchanges that have no route. */
  readonly none: RouteMetrics
  readonly upstreams: readonly Upstream[]
  readonly log: LogCounts
  readonly ledger: Ledger
  readonly watch: Watch
  /** Open now. */
  readonly clientConnections: () => number
  /** Listening, and not about to stop. */
  readonly ready: () => boolean
}

/** Exchanges in flight that are named, oldest first; all are counted. */
const MOST_NAMED = 50

/** The cells of all rows of the page's table: the routes, then `_none`. */
export function cellsOf({ routes, none }: LiveParts): readonly RouteMetrics[] {
  return [...routes.map(route => route.metrics), none]
}

/** The first event that a page gets. @param boot tells this process, or gateway, from the one before */
export function hello({ config, version, routes, upstreams }: LiveParts, boot: string, startedMs: number) {
  const off = (ms: number): number | 'off' => (ms === Infinity ? 'off' : ms)
  const { listen } = config
  return {
    boot,
    version,
    config: config.hash,
    started_ms: startedMs,
    sample_ms: SAMPLE_MS,
    samples: SAMPLES,
    bands: BANDS,
    timeouts: TIMEOUTS,
    routes: [
      ...routes.map(({ name, config: route }) => ({
        name,
        match: describeMatch(route.match),
        upstream: route.upstream,
        streaming: route.streaming,
        configured: Object.fromEntries(
          effectiveTimeouts(route, listen)
            .filter(timeout => !isOfConnections(timeout.name))
            .map(({ name: timeout, ms }) => [timeout, off(ms)]),
        ),
      })),
      {
        name: NO_ROUTE,
        match: 'what matches no route, or cannot be read',
        upstream: null,
        streaming: false,
        configured: Object.fromEntries(
          listenTimeoutsOf(listen)
            .filter(timeout => isOfConnections(timeout.name))
            .map(({ name, ms }) => [name, off(ms)]),
        ),
      },
    ],
    upstreams: upstreams.map(({ config: { name, balance, pool }, endpoints }) => ({
      name,
      balance,
      queue_limit: pool.queue,
      endpoints: endpoints.map(({ config: { url }, pool: { maxConnections } }) => ({
        url,
        max_connections: maxConnections,
      })),
    })),
  }
}

const isOfConnections = (name: TimeoutName): boolean => OF_CONNECTIONS.includes(name)

function describeMatch({ kind, path, host, methods }: BoundRoute['config']['match']): string {
  return [methods?.join(' '), `${host ?? ''}${path}${kind === 'exact' ? '' : path.endsWith('/') ? '…' : '/…'}`]
    .filter(word => word !== undefined)
    .join(' ')
}

const totals = new Float64Array(BANDS.length)

/** How it stands. Everything in it is bounded by the configuration, the exchanges named and the texts clipped. */
export function standing(parts: LiveParts, utilization: number) {
  const { routes, upstreams, log, ledger, watch } = parts
  const at = performance.now()
  const cells = cellsOf(parts)
  const { reading, acceptQueueLimit } = watch.kernel
  return {
    time_ms: Date.now(),
    ready: parts.ready(),
    ailments: watch.ailments(),
    /** Per route: in flight, age of the oldest in ms, then how many ever ended in each band. */
    routes: cells.map((cell, i) => {
      const inflight = routes[i]?.inflight
      const oldest = inflight?.first
      totalsOf(cell, totals)
      return [inflight?.size ?? 0, oldest === undefined ? 0 : Math.round(oldest.ageMs(at)), ...totals]
    }),
    /** Of those that ever fired: route, timeout, how often, the worst overrun in ms. */
    fired: cells.flatMap((cell, route) =>
      TIMEOUTS.flatMap((name, timeout) => {
        const count = cell.timeoutCount(name)
        return count === 0 ? [] : [[route, timeout, count, Math.round(cell.worstOverrunMs(name) * 10) / 10]]
      }),
    ),
    /** Per upstream: the queue, then per endpoint connecting, active and idle. */
    upstreams: upstreams.map(({ queued, endpoints }) => [
      queued,
      ...endpoints.map(endpoint => [endpoint.count('connecting'), endpoint.count('active'), endpoint.count('idle')]),
    ]),
    in_flight: oldest(routes, at),
    client_connections: parts.clientConnections(),
    log: { up: log.up, written: log.written, dropped: log.dropped, buffered_bytes: log.bufferedBytes },
    imbalance: Object.fromEntries(LEDGERS.map(name => [name, ledger.imbalance(name)])),
    loop: {
      utilization: Math.round(utilization * 1000) / 1000,
      stalls: watch.watchdog?.stalls ?? null,
    },
    selfprobe: watch.probe === undefined ? null : { up: watch.probe.up, ...watch.probe.results },
    sockets:
      reading?.sockets == null
        ? null
        : [...reading.sockets.sides].map(([side, states]) => ({ side, states: Object.fromEntries(states) })),
    accept_queue: { depth: reading?.sockets?.acceptQueue ?? null, limit: acceptQueueLimit ?? null },
    listen: reading?.listen ?? null,
    descriptors: reading?.descriptors ?? null,
  }
}

/** Each route's are in the order of their age: of none can more than the first ones be among the oldest of all. */
function oldest(routes: readonly BoundRoute[], at: number) {
  const candidates: InFlight[] = []
  for (const { inflight } of routes) {
    let taken = 0
    for (const exchange of inflight) {
      if (taken++ === MOST_NAMED) break
      candidates.push(exchange)
    }
  }
  return candidates
    .sort((a, b) => b.ageMs(at) - a.ageMs(at))
    .slice(0, MOST_NAMED)
    .map(exchange => {
      const nearest = exchange.inside?.timeouts.nearest(at)
      return {
        request_id: plain(exchange.requestId),
        route: exchange.route.name,
        stage: exchange.stageNow,
        age_ms: Math.round(exchange.ageMs(at)),
        request: `${plain(exchange.method)} ${plain(exchange.path)}`,
        client: exchange.clientAddress,
        endpoint: exchange.endpointUrl,
        timeout: nearest?.timeout ?? null,
        share: nearest === undefined ? null : Math.round(nearest.share * 100) / 100,
      }
    })
}
