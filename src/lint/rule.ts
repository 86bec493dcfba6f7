/** What a lint rule is given, and what it finds. */
import type { Config, RouteConfig, Sourced } from '../config/config.ts'
import { keysOf } from '../config/timeout-rules.ts'
import type { Traffic } from './traffic.ts'

/** `error`: requests will fail by it, sooner or later. `warning`: they may, or the file does not say enough. */
export type Severity = 'error' | 'warning'

/** The way to a value: `['routes', 0, 'timeouts', 'request']`. */
export type Keys = readonly (string | number)[]

export interface Found {
  readonly at: Keys
  /** `what is wrong (got X, wanted Y)`; the routes that it holds for are appended by whoever collects. */
  readonly message: string
  /** The index of the route whose value it is, where it is a route's. Routes that share a value share a finding. */
  readonly route?: number
  /** In place of the rule's own. */
  readonly severity?: Severity
}

export interface Rule {
  /** Says what ought to hold; the heading of its section in docs/LINT.md. */
  readonly id: string
  readonly severity: Severity
  readonly check: (config: Config, traffic: Traffic | null) => readonly Found[]
}

export type RouteTimeoutKey = 'request' | 'queue' | 'connect' | 'request_write' | 'response_headers' | 'body_idle'

export function timeoutOf(route: RouteConfig, key: RouteTimeoutKey): Sourced<number> {
  const { request, queue, connect, requestWrite, responseHeaders, bodyIdle } = route.timeouts
  switch (key) {
    case 'request':
      return request
    case 'queue':
      return queue
    case 'connect':
      return connect
    case 'request_write':
      return requestWrite
    case 'response_headers':
      return responseHeaders
    case 'body_idle':
      return bodyIdle
  }
}

/** Where a timeout of a route was written; for a built-in, where one would write it for all routes. */
export function writtenAt(route: RouteConfig, index: number, key: RouteTimeoutKey): Keys {
  const { origin } = timeoutOf(route, key)
  if (origin === 'built-in') return ['defaults', 'timeouts', key]
  return origin === 'streaming' ? ['routes', index, 'timeouts', key] : [...keysOf(origin), 'timeouts', key]
}

/** What `look` finds for each route. */
export function perRoute(
  config: Config,
  look: (route: RouteConfig, index: number) => Found | readonly Found[] | null,
): readonly Found[] {
  return config.routes.flatMap((route, index) => {
    const found = look(route, index)
    if (found === null) return []
    const all = 'message' in found ? [found] : found
    return all.map(each => ({ route: index, ...each }))
  })
}
