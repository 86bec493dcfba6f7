/** The relations to those whom we call, stated in `neighbours.upstreams`. */
import type { Config, NeighbourUpstream, UpstreamConfig } from '../config/config.ts'
import { formatDuration } from '../config/duration.ts'
import { type Found, perRoute, type Rule, writtenAt } from './rule.ts'

/**
 * Our clock starts when the response is here and stops when we close, so what the upstream's own has counted when our last
 * request arrives is more by a round trip, by a retransmission if a segment was lost (Linux: 200 ms at least), and by what
 * either process is late (our own closes: the latest of 100 by 8 ms, measured on a busy machine).
 */
const POOL_MARGIN_MS = 500

function stated(config: Config): readonly (readonly [UpstreamConfig, NeighbourUpstream])[] {
  return config.neighbours.upstreams.flatMap(neighbour => {
    const upstream = config.upstreams.find(({ name }) => name === neighbour.name)
    return upstream === undefined ? [] : [[upstream, neighbour] as const]
  })
}

export const poolKeepaliveBelowUpstream: Rule = {
  id: 'pool-keepalive-below-upstream',
  severity: 'error',
  check: config =>
    stated(config).flatMap(([{ name, pool }, { keepaliveIdleMs: theirs }]): readonly Found[] => {
      if (theirs === null || pool.keepaliveMs + POOL_MARGIN_MS <= theirs) return []
      const at = ['upstreams', name, 'pool', 'keepalive']
      const got = `got ${formatDuration(pool.keepaliveMs)}, neighbours.upstreams.${name}.keepalive_idle ${formatDuration(theirs)}`
      return pool.keepaliveMs >= theirs
        ? [
            {
              at,
              message: `the upstream closes idle connections before we do: a request meets a closed socket, and a POST fails as stale_connection (${got})`,
            },
          ]
        : [
            {
              at,
              severity: 'warning',
              message: `so close to the upstream's own that its close may cross our request, which takes a round trip and, where a segment is lost, a retransmission (${got}, wanted ${formatDuration(POOL_MARGIN_MS)} between them)`,
            },
          ]
    }),
}

export const poolWithinAcceptBacklog: Rule = {
  id: 'pool-within-accept-backlog',
  severity: 'warning',
  check: config =>
    stated(config).flatMap(([{ name, endpoints }, { acceptBacklog }]): readonly Found[] => {
      if (acceptBacklog === null) return []
      // The same server may be an endpoint of several upstreams: what counts there is what all of them dial.
      const dials = endpoints.map(({ authority }) => ({ authority, sum: dialledAt(config, authority) }))
      const worst = dials.reduce((most, each) => (each.sum > most.sum ? each : most))
      if (worst.sum <= acceptBacklog) return []
      return [
        {
          at: ['upstreams', name, 'pool', 'max_connections'],
          message: `after a pause of the upstream we may dial more at once than may wait there: the rest is dropped, and comes back as connect_timeout (got ${worst.sum} connections to ${worst.authority}, wanted at most neighbours.upstreams.${name}.accept_backlog ${acceptBacklog}, and that divided among the replicas of this gateway)`,
        },
      ]
    }),
}

function dialledAt(config: Config, authority: string): number {
  return config.upstreams
    .filter(({ endpoints }) => endpoints.some(endpoint => endpoint.authority === authority))
    .reduce((sum, { pool }) => sum + pool.maxConnections, 0)
}

export const responseHeadersAboveUpstream: Rule = {
  id: 'response-headers-above-upstream',
  severity: 'warning',
  check: config =>
    perRoute(config, (route, index) => {
      const theirs = config.neighbours.upstreams.find(({ name }) => name === route.upstream)?.requestTimeoutMs ?? null
      const { responseHeaders, request } = route.timeouts
      const key = request.value < responseHeaders.value ? 'request' : 'response_headers'
      const ours = Math.min(request.value, responseHeaders.value)
      if (theirs === null || ours > theirs) return null
      return {
        at: writtenAt(route, index, key),
        message: `we give up before the upstream does: unless it notices that we hang up, it goes on working on requests that were answered 504, and gets slower by it (got ${formatDuration(ours)}, wanted more than neighbours.upstreams.${route.upstream}.request_timeout ${formatDuration(theirs)})`,
      }
    }),
}
