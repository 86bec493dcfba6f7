/** The limits that held for an exchange, by its route: what an access line does not say. */
import type { Config } from '../config/config.ts'
import type { TimeoutName } from '../outcome.ts'

export interface Limits {
  /** Milliseconds; Infinity: off. Without `listen.min_body_rate`, which is no duration. */
  readonly timeouts: ReadonlyMap<TimeoutName, number>
  /** Bytes per second; null: off. */
  readonly minBodyRate: number | null
  readonly bodyBytes: number
  readonly inFlight: number
  /** Connections to each endpoint, and exchanges that may wait for one. */
  readonly poolConnections: number
  readonly poolQueue: number
  readonly poolKeepaliveMs: number
}

/** By route; `_none` has only what holds before a route is known. */
export function limitsOf(config: Config): ReadonlyMap<string, Limits> {
  const { listen } = config
  const client: readonly (readonly [TimeoutName, number])[] = [
    ['listen.timeouts.headers', listen.timeouts.headers.value],
    ['listen.timeouts.body_idle', listen.timeouts.bodyIdle.value],
    ['listen.timeouts.write_idle', listen.timeouts.writeIdle.value],
  ]
  const minBodyRate = listen.minBodyRate?.bytesPerSecond ?? null
  const none: Limits = {
    timeouts: new Map(client),
    minBodyRate,
    bodyBytes: Infinity,
    inFlight: Infinity,
    poolConnections: Infinity,
    poolQueue: Infinity,
    poolKeepaliveMs: Infinity,
  }
  const routes = config.routes.map(route => {
    const { request, queue, connect, requestWrite, responseHeaders, bodyIdle } = route.timeouts
    const pool = config.upstreams.find(({ name }) => name === route.upstream)?.pool
    const limits: Limits = {
      timeouts: new Map<TimeoutName, number>([
        ...client,
        ['request', request.value],
        ['queue', queue.value],
        ['connect', connect.value],
        ['request_write', requestWrite.value],
        ['response_headers', responseHeaders.value],
        ['body_idle', bodyIdle.value],
      ]),
      minBodyRate,
      bodyBytes: route.limits.bodyBytes.value,
      inFlight: route.limits.inFlight.value,
      poolConnections: pool?.maxConnections ?? Infinity,
      poolQueue: pool?.queue ?? Infinity,
      poolKeepaliveMs: pool?.keepaliveMs ?? Infinity,
    }
    return [route.name, limits] as const
  })
  return new Map([...routes, ['_none', none] as const])
}
