/** One thing to prove, as data: what is injected, what the client does, and what must be seen. */
import type { Config, RouteConfig } from '../config/config.ts'
import type { Stage } from '../outcome.ts'
import type { Leave, Pace, UpstreamFault } from './faults.ts'
import type { Expected } from './promised.ts'
import type { Adjustments } from './rewire.ts'
import type { UpgradePlan } from './websocket-drive.ts'

/** What the case's client does. */
export type Plan =
  /** Asks, and waits for what comes. */
  | { readonly does: 'asks' }
  /** Asks, is answered, and asks again on the same upstream connection; with a body: the second may not be replayed. */
  | { readonly does: 'asks-again'; readonly body: boolean }
  /** Asks, is answered, and leaves the connection open. */
  | { readonly does: 'idles' }
  /** Half a request head. */
  | { readonly does: 'half-a-head' }
  /** Says `body` bytes, sends `sends` of them at once, and then no more, or at this pace. */
  | { readonly does: 'stops-uploading'; readonly body: number; readonly sends: number; readonly pace?: Pace }
  /** A body that the upstream does not take. */
  | { readonly does: 'uploads'; readonly body: number }
  /** Sends the last byte of its body `afterMs` after the first. */
  | { readonly does: 'ends-late'; readonly afterMs: number }
  /** Asks for WebSocket. */
  | UpgradePlan
  /** Does not read the answer. */
  | { readonly does: 'never-reads' }
  /** Sends these bytes instead of a request. */
  | { readonly does: 'speaks'; readonly bytes: string }
  /** Goes away once the exchange has come to this stage. `body`: as in `uploads`. */
  | { readonly does: 'leaves'; readonly at: Stage; readonly by: Leave; readonly body?: number }

/** What fills up before the case's own request comes. */
export type Crowd = 'slots' | 'queue' | 'in_flight'

export type CaseKind = 'timeout' | 'abort' | 'failure'

export interface ProveCase {
  readonly kind: CaseKind
  /** The route's name; `_none` where it takes none. */
  readonly route: string
  /** The timeout, stage or outcome that it is about: what `--only` is compared with. */
  readonly word: string
  /** Distinguishes several of one word: `in mid-body`. */
  readonly variant?: string
  readonly upstream: UpstreamFault | 'resets-when-reused'
  readonly plan: Plan
  readonly crowd?: Crowd
  readonly adjust?: Adjustments
  /** Any of these; the first is what is hoped for. */
  readonly expect: readonly [Expected, ...Expected[]]
  /** The configured value in ms; undefined: the case is not about one. */
  readonly configuredMs?: number
  /** Which key to look at when it misses, and where its value came from. */
  readonly key: string
  readonly origin: string
  /** `covered by request` and the like. */
  readonly covered?: string
  /** What the reader of the report should know. */
  readonly notes: readonly string[]
  /** The whole configuration is needed, not the route's alone. */
  readonly whole?: true
}

/** A timeout that is `off`, or a case that cannot be made: listed, not proven. */
export interface Unproven {
  readonly route: string
  readonly word: string
  readonly why: string
  readonly key: string
  readonly origin: string
}

/** What a route's cases are made from. */
export interface Subject {
  readonly config: Config
  readonly route: RouteConfig
  /** Of a request without, and with, a body. */
  readonly method: string
  readonly bodyMethod: string
  readonly https: boolean
}

export function subjectOf(config: Config, route: RouteConfig): Subject {
  const { methods } = route.match
  const first = (preferred: readonly string[]): string =>
    preferred.find(method => methods === null || methods.includes(method)) ?? methods?.[0] ?? 'GET'
  const upstream = config.upstreams.find(({ name }) => name === route.upstream)
  return {
    config,
    route,
    method: first(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']),
    bodyMethod: first(['POST', 'PUT', 'PATCH', 'DELETE', 'GET']),
    https: upstream?.endpoints[0]?.tls === true,
  }
}

/** `orders response_headers`, `orders reset in mid-body`. */
export function nameOf({ route, kind, word, variant }: Pick<ProveCase, 'route' | 'kind' | 'word' | 'variant'>): string {
  const what = kind === 'abort' ? `client leaves in ${word}` : word
  return `${route} ${what}${variant === undefined ? '' : ` ${variant}`}`
}

/** Megabytes are moved before time alone has to pass, and then somebody does not read. */
export function isHeavy({ plan }: ProveCase): boolean {
  return (
    plan.does === 'uploads' || plan.does === 'never-reads' || (plan.does === 'leaves' && plan.at.endsWith('_write'))
  )
}
