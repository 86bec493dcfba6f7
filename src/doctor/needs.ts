/** What a configuration may come to need when it is fully used. */
import type { Config } from '../config/config.ts'

export interface Needs {
  /** Exchanges at the same time: `limits.in_flight` of all routes, and no more than there may be clients. */
  readonly inFlight: number
  /** Connections of all pools. */
  readonly pooled: number
  readonly maxConnections: number
}

export function needsOf({ routes, upstreams, listen }: Config): Needs {
  const asked = routes.reduce((sum, { limits }) => sum + limits.inFlight.value, 0)
  return {
    inFlight: Math.min(asked, listen.maxConnections),
    pooled: upstreams.reduce((sum, { pool, endpoints }) => sum + pool.maxConnections * endpoints.length, 0),
    maxConnections: listen.maxConnections,
  }
}
