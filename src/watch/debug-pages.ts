/** What an operator asks when something hangs: who has used up how much of its time, and what each timeout has done. */
import type { Config } from '../config/config.ts'
import { type EffectiveTimeout, effectiveTimeouts, listenTimeoutsOf } from '../config/effective.ts'
import type { BoundRoute } from '../exchange/route.ts'
import type { RouteMetrics } from '../observe/route-metrics.ts'
import type { TimeoutName } from '../outcome.ts'
import { overdueMs } from './overdue.ts'
import { described } from './watch.ts'

/** Exchanges that the page names; it counts all of them. */
const MOST_NAMED = 100

/**
 * `/-/stuck`: the exchanges that have used up `share` of a timeout that runs, or more: by stage, and the worst by name.
 * @param share 0 to 1
 */
export function stuckPage(routes: readonly BoundRoute[], share: number) {
  const at = performance.now()
  const all = routes.flatMap(({ inflight }) => [...inflight])
  const late = all
    .map(exchange => ({ exchange, nearest: exchange.inside?.timeouts.nearest(at), byMs: overdueMs(exchange, at) }))
    .filter(({ nearest, byMs }) => byMs > 0 || (nearest !== undefined && nearest.share >= share))
    .sort((a, b) => (b.nearest?.share ?? Infinity) - (a.nearest?.share ?? Infinity))
  const stages = new Map<string, { count: number; oldest_ms: number }>()
  for (const { exchange } of late) {
    const stage = stages.get(exchange.stageNow) ?? { count: 0, oldest_ms: 0 }
    stage.count++
    stage.oldest_ms = Math.max(stage.oldest_ms, Math.round(exchange.ageMs(at)))
    stages.set(exchange.stageNow, stage)
  }
  return {
    share,
    in_flight: all.length,
    stuck: late.length,
    overdue: late.filter(({ byMs }) => byMs > 0).length,
    stages: Object.fromEntries(stages),
    exchanges: late.slice(0, MOST_NAMED).map(({ exchange, nearest, byMs }) => ({
      ...described(exchange, at),
      method: exchange.method,
      path: exchange.path,
      client: exchange.clientAddress,
      timeout: nearest?.timeout,
      share: nearest === undefined ? undefined : Math.round(nearest.share * 1000) / 1000,
      left_ms: nearest === undefined ? undefined : Math.round(nearest.leftMs),
      overdue_ms: byMs > 0 ? Math.round(byMs) : undefined,
    })),
  }
}

/** Those that belong to a connection, and to no route: they run before a request is known, or between two. */
export const OF_CONNECTIONS: readonly TimeoutName[] = ['listen.timeouts.headers', 'listen.timeouts.keepalive']

/** `/-/effective`: every timeout as it holds, where it was written, and what it has done since the start. */
export function effectivePage(config: Config, routes: readonly BoundRoute[], none: RouteMetrics) {
  const { listen } = config
  const { minBodyRate } = listen
  return {
    config_hash: config.hash,
    connections: listenTimeoutsOf(listen)
      .filter(({ name }) => OF_CONNECTIONS.includes(name))
      .map(timeout => timeoutOf(timeout, none)),
    routes: routes.map(({ name, config: route, metrics }) => ({
      name,
      upstream: route.upstream,
      streaming: route.streaming,
      timeouts: effectiveTimeouts(route, listen)
        .filter(timeout => !OF_CONNECTIONS.includes(timeout.name))
        .map(timeout => timeoutOf(timeout, metrics)),
      min_body_rate: {
        bytes_per_second: minBodyRate === null ? 'off' : minBodyRate.bytesPerSecond,
        ...done('listen.min_body_rate', metrics),
      },
    })),
  }
}

function timeoutOf({ name, ms, origin, covered }: EffectiveTimeout, metrics: RouteMetrics) {
  return {
    name,
    ms: ms === Infinity ? 'off' : ms,
    origin,
    covered_by_request: covered,
    ...done(name, metrics),
    worst_overrun_ms: Math.round(metrics.worstOverrunMs(name) * 1000) / 1000,
  }
}

function done(name: TimeoutName, metrics: RouteMetrics) {
  const last = metrics.lastFiredAt(name)
  return { fired: metrics.timeoutCount(name), last_fired: last === 0 ? null : new Date(last).toISOString() }
}
