/**
 * A Config as `prove` runs it: the user's own, with nothing changed but where it listens, where its endpoints are, and
 * what a single case cannot do without (said in the report). The user's endpoints are not in it any more.
 */
import type { Config, EndpointConfig, RouteConfig, Sourced, UpstreamConfig } from '../config/config.ts'

/** What a case changes beyond the addresses, because it could not be provoked otherwise. */
export interface Adjustments {
  /** Connections of the upstream, over all of its endpoints: that many endpoints with one connection each, at most. */
  readonly slots?: number
  readonly queue?: number
  readonly inFlight?: number
  readonly bodyBytes?: number
}

/** How TLS upstreams are trusted while they are the kit's. */
export interface KitTrust {
  readonly caFile: string
}

const LOOPBACK = '127.0.0.1'

/** The shortest that a timeout is scaled to, ms: below it the machine's own slowness is what would be measured. */
const SHORTEST_SCALED_MS = 50

/** All durations times `factor`; none below 50 ms unless it was before. */
export function scaled(config: Config, factor: number): Config {
  if (factor === 1) return config
  const ms = (value: number): number =>
    Number.isFinite(value) ? Math.max(Math.min(value, SHORTEST_SCALED_MS), Math.round(value * factor)) : value
  const sourced = ({ value, origin }: Sourced<number>): Sourced<number> => ({ value: ms(value), origin })
  const { listen } = config
  return {
    ...config,
    listen: {
      ...listen,
      minBodyRate:
        listen.minBodyRate === null ? null : { ...listen.minBodyRate, graceMs: ms(listen.minBodyRate.graceMs) },
      timeouts: {
        headers: sourced(listen.timeouts.headers),
        bodyIdle: sourced(listen.timeouts.bodyIdle),
        writeIdle: sourced(listen.timeouts.writeIdle),
        keepalive: sourced(listen.timeouts.keepalive),
      },
    },
    upstreams: config.upstreams.map(upstream => ({
      ...upstream,
      pool: {
        ...upstream.pool,
        keepaliveMs: ms(upstream.pool.keepaliveMs),
        maxAgeMs: ms(upstream.pool.maxAgeMs),
      },
    })),
    routes: config.routes.map(route => ({
      ...route,
      timeouts: {
        request: sourced(route.timeouts.request),
        queue: sourced(route.timeouts.queue),
        connect: sourced(route.timeouts.connect),
        requestWrite: sourced(route.timeouts.requestWrite),
        responseHeaders: sourced(route.timeouts.responseHeaders),
        bodyIdle: sourced(route.timeouts.bodyIdle),
      },
      websocket:
        route.websocket === null
          ? null
          : {
              ...route.websocket,
              idleTimeout: sourced(route.websocket.idleTimeout),
              maxLifetime: sourced(route.websocket.maxLifetime),
              pingInterval: sourced(route.websocket.pingInterval),
            },
    })),
  }
}

/** The configuration of one route alone: what the others do cannot reach it then, nor its case them. */
export function aloneWith(config: Config, route: RouteConfig): Config {
  return {
    ...config,
    routes: [route],
    upstreams: config.upstreams.filter(({ name }) => name === route.upstream),
  }
}

/**
 * @param portsOf the kit's ports for an upstream: each becomes one endpoint of it
 */
export function rewired(
  config: Config,
  portsOf: (upstream: UpstreamConfig) => readonly number[],
  trust: KitTrust | undefined,
  adjustments: Adjustments = {},
): Config {
  const { slots, queue, inFlight, bodyBytes } = adjustments
  const here = { host: LOOPBACK, port: 0 }
  return {
    ...config,
    listen: { ...config.listen, address: here },
    admin: here,
    // Its lines go to memory, and are half of what is looked at.
    log: { ...config.log, access: true, destination: 'stdout' },
    // Its requests and connections would be counted among those of the cases.
    selfprobe: null,
    watchdog: null,
    warnings: [],
    upstreams: config.upstreams.map(upstream => {
      const tls = upstream.endpoints[0]?.tls === true
      const endpoints = portsOf(upstream).map(port => endpointAt(port, tls))
      const pool = upstream.pool
      return {
        ...upstream,
        endpoints,
        pool: {
          ...pool,
          maxConnections: slots === undefined ? pool.maxConnections : Math.ceil(slots / endpoints.length),
          queue: queue ?? pool.queue,
        },
        // The kit's certificate is for localhost and 127.0.0.1, and signed by the kit's authority.
        tls: tls && trust !== undefined ? { ...upstream.tls, caFile: trust.caFile, serverName: null } : upstream.tls,
      }
    }),
    routes: config.routes.map(route => ({
      ...route,
      limits: {
        bodyBytes: bodyBytes === undefined ? route.limits.bodyBytes : { value: bodyBytes, origin: 'prove' },
        inFlight: inFlight === undefined ? route.limits.inFlight : { value: inFlight, origin: 'prove' },
      },
    })),
  }
}

function endpointAt(port: number, tls: boolean): EndpointConfig {
  const authority = `${LOOPBACK}:${port}`
  return { url: `${tls ? 'https' : 'http'}://${authority}`, tls, hostname: LOOPBACK, port, authority }
}

/** The endpoints that the user wrote, none of which may ever be dialled. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
