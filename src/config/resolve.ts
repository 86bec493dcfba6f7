/** What was written -> `Config`: every default filled in, every inherited value with its origin, addresses and headers in their final form. */
import { resolve } from 'node:path'
import type {
  Config,
  ConfigIssue,
  HeaderRules,
  ListenConfig,
  NeighboursConfig,
  Origin,
  RouteConfig,
  RouteTimeouts,
  SloConfig,
  Sourced,
  UpstreamConfig,
} from './config.ts'
import { parseDuration } from './duration.ts'
import type { InheritedField } from './kind.ts'
import type { WrittenNeighbours } from './neighbour-schema.ts'
import {
  limits,
  onClientAbort,
  routeTimeouts,
  STREAMING_BODY_IDLE,
  type WrittenHeaders,
  type WrittenLimits,
  type WrittenRoute,
  type WrittenSlo,
  type WrittenTimeouts,
  type WrittenUpstream,
} from './route-schema.ts'
import { listenTimeouts, type Written, type WrittenListen } from './schema.ts'
import { resolveWebSocket } from './websocket-schema.ts'

/** One of the places where a shared value can be written; the most specific first. */
export interface Level {
  readonly origin: Origin
  readonly timeouts: WrittenTimeouts
  readonly on_client_abort: 'cancel' | 'finish' | undefined
  readonly limits: WrittenLimits
}

/** Only for what was read without an issue. */
export function resolveConfig(
  written: Written,
  context: { readonly baseDir: string; readonly hash: string; readonly warnings: readonly ConfigIssue[] },
): Config {
  const { admin, log, drain, selfprobe, watchdog } = written
  return {
    listen: resolveListen(written.listen),
    admin: admin.address,
    log: {
      level: log.level,
      destination: log.destination,
      access: log.access,
      bufferBytes: log.buffer,
    },
    drain: { delayMs: drain.delay, deadlineMs: drain.deadline },
    selfprobe:
      selfprobe === null
        ? null
        : { intervalMs: selfprobe.interval, timeoutMs: selfprobe.timeout, failAfter: selfprobe.fail_after },
    watchdog: watchdog === null ? null : { stallMs: watchdog.stall, killMs: watchdog.kill, address: watchdog.address },
    upstreams: written.upstreams.map(([name, upstream]) => resolveUpstream(name, upstream, context.baseDir)),
    routes: written.routes.map((route, i) => resolveRoute(route, levelsOf(written, route, i))),
    neighbours: resolveNeighbours(written.neighbours),
    preflight: written.preflight,
    hash: context.hash,
    warnings: context.warnings,
  }
}

/** The levels that hold for a route, the most specific first. */
export function levelsOf(written: Written, route: WrittenRoute, index: number): readonly Level[] {
  const levels: Level[] = [{ ...route, origin: `routes[${index}]` }]
  const upstream = written.upstreams.find(([name]) => name === route.upstream)
  if (upstream !== undefined) levels.push({ ...upstream[1], origin: `upstreams.${upstream[0]}` })
  levels.push({ ...written.defaults, origin: 'defaults' })
  return levels
}

export function resolveTimeouts(levels: readonly Level[], streaming: boolean): RouteTimeouts {
  const of = (key: keyof WrittenTimeouts) => inherit(routeTimeouts.fields[key], levels, level => level.timeouts[key])
  const bodyIdle = of('body_idle')
  return {
    request: streaming ? { value: Number.POSITIVE_INFINITY, origin: 'streaming' } : of('request'),
    queue: of('queue'),
    connect: of('connect'),
    requestWrite: of('request_write'),
    responseHeaders: of('response_headers'),
    bodyIdle:
      streaming && bodyIdle.origin === 'built-in' ? { value: streamingBodyIdleMs, origin: 'streaming' } : bodyIdle,
  }
}

const streamingBodyIdle = parseDuration(STREAMING_BODY_IDLE)
const streamingBodyIdleMs = 'value' in streamingBodyIdle ? streamingBodyIdle.value : Number.NaN

function inherit<T>(
  field: InheritedField<T>,
  levels: readonly Level[],
  pick: (level: Level) => T | undefined,
): Sourced<T> {
  for (const level of levels) {
    const value = pick(level)
    if (value !== undefined) return { value, origin: level.origin }
  }
  return { value: field.builtInValue, origin: 'built-in' }
}

function resolveListen(listen: WrittenListen): ListenConfig {
  const timeouts = listen.timeouts
  const rate = listen.min_body_rate
  const of = (key: keyof typeof timeouts): Sourced<number> => {
    const value = timeouts[key]
    return value === undefined
      ? { value: listenTimeouts.fields[key].builtInValue, origin: 'built-in' }
      : { value, origin: 'listen' }
  }
  return {
    address: listen.address,
    backlog: listen.backlog,
    maxConnections: listen.max_connections,
    maxHeaderBytes: listen.max_header_size,
    minBodyRate: rate === null ? null : { bytesPerSecond: rate.rate, graceMs: rate.grace },
    timeouts: {
      headers: of('headers'),
      bodyIdle: of('body_idle'),
      writeIdle: of('write_idle'),
      keepalive: of('keepalive'),
    },
    trustedProxies: listen.trusted_proxies,
  }
}

function resolveUpstream(name: string, upstream: WrittenUpstream, baseDir: string): UpstreamConfig {
  const pool = upstream.pool
  const tls = upstream.tls
  return {
    name,
    endpoints: upstream.endpoints,
    balance: upstream.balance,
    pool: {
      maxConnections: pool.max_connections,
      keepaliveMs: pool.keepalive,
      maxAgeMs: pool.max_age,
      queue: pool.queue,
    },
    tls: {
      verify: tls.verify,
      caFile: tls.ca_file === null ? null : resolve(baseDir, tls.ca_file),
      serverName: tls.server_name,
    },
  }
}

function resolveNeighbours({ front, upstreams, kubernetes }: WrittenNeighbours): NeighboursConfig {
  return {
    front: {
      responseTimeoutMs: front.response_timeout ?? null,
      keepaliveIdleMs: front.keepalive_idle ?? null,
    },
    upstreams: upstreams.map(([name, upstream]) => ({
      name,
      keepaliveIdleMs: upstream.keepalive_idle ?? null,
      requestTimeoutMs: upstream.request_timeout ?? null,
      acceptBacklog: upstream.accept_backlog ?? null,
    })),
    kubernetes: { terminationGracePeriodMs: kubernetes.termination_grace_period ?? null },
  }
}

function resolveRoute(route: WrittenRoute, levels: readonly Level[]): RouteConfig {
  const match = route.match
  const rewrite = route.rewrite
  const kind = match.path === undefined ? 'prefix' : 'exact'
  const to = rewrite.path_prefix
  return {
    name: present(route.name),
    match: {
      host: match.host,
      kind,
      path: matchPath(match),
      methods: match.methods,
      encodedSlashes: match.encoded_slashes,
    },
    rewrite: {
      path: to === null || kind === 'exact' ? to : trimPrefix(to),
      host:
        rewrite.host === 'upstream' || rewrite.host === 'preserve'
          ? { kind: rewrite.host }
          : { kind: 'literal', value: rewrite.host },
    },
    upstream: present(route.upstream),
    streaming: route.streaming,
    timeouts: resolveTimeouts(levels, route.streaming),
    onClientAbort: inherit(onClientAbort, levels, level => level.on_client_abort),
    limits: {
      bodyBytes: inherit(limits.fields.body, levels, level => level.limits.body),
      inFlight: inherit(limits.fields.in_flight, levels, level => level.limits.in_flight),
    },
    slo: resolveSlo(route.slo),
    requestHeaders: resolveHeaders(route.request_headers),
    responseHeaders: resolveHeaders(route.response_headers),
    websocket: resolveWebSocket(route.websocket, levels[0]?.origin ?? 'built-in'),
  }
}

function resolveSlo({ availability, latency }: WrittenSlo): SloConfig {
  const { p50, p90, p95, p99 } = latency
  const written = [
    { percent: 50, ms: p50 },
    { percent: 90, ms: p90 },
    { percent: 95, ms: p95 },
    { percent: 99, ms: p99 },
  ]
  return {
    availability: availability ?? null,
    latency: written.flatMap(({ percent, ms }) => (ms === undefined ? [] : [{ percent, ms }])),
  }
}

function resolveHeaders(rules: WrittenHeaders): HeaderRules {
  return { set: rules.set, remove: rules.remove.map(name => name.toLowerCase()) }
}

/** The path that a route matches, `/api/` as `/api`; empty where none was written, which is reported elsewhere. */
export function matchPath(match: {
  readonly path: string | undefined
  readonly path_prefix: string | undefined
}): string {
  return match.path ?? trimPrefix(match.path_prefix ?? '')
}

function trimPrefix(prefix: string): string {
  return prefix.length > 1 && prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
}

/** What the reader leaves out, it reports; so where nothing was reported, everything is there. */
function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a required value passed the reader without an issue')
  return value
}
