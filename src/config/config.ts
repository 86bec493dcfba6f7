/**
 * The configuration as the rest of the gateway sees it: complete, readonly, every default filled in, every value that
 * has a precedence remembering where it came from. Durations are milliseconds, sizes bytes; `Infinity` means `off`.
 */
import type { LogLevel } from '../outcome.ts'

/** Where an effective value was written: `built-in`, `defaults`, `listen`, `upstreams.NAME`, `routes[i]`, `streaming` (the default that `streaming: true` brings). */
export type Origin = string

export interface Sourced<T> {
  readonly value: T
  readonly origin: Origin
}

export interface Config {
  readonly listen: ListenConfig
  readonly admin: AddressConfig
  readonly log: LogConfig
  readonly drain: { readonly delayMs: number; readonly deadlineMs: number }
  /** null: off. */
  readonly selfprobe: SelfProbeConfig | null
  /** null: off. */
  readonly watchdog: WatchdogConfig | null
  readonly upstreams: readonly UpstreamConfig[]
  readonly routes: readonly RouteConfig[]
  readonly neighbours: NeighboursConfig
  /** What becomes of `doctor`'s findings at the start. */
  readonly preflight: 'off' | 'warn' | 'strict'
  /** SHA-256 of the configuration text before `${ENV}` expansion, first 12 hex digits. */
  readonly hash: string
  /** What is legal but probably not meant. */
  readonly warnings: readonly ConfigIssue[]
}

/** One thing wrong in a configuration text, and where. */
export interface ConfigIssue {
  /** YAML path, for example `routes[0].timeouts.connect`. */
  readonly path: string
  /** 1-based; of the offending value, or of the key where it is the key that is wrong. */
  readonly line: number
  readonly column: number
  /** What is wrong, with what was got and what is allowed: `not a duration (got 5, allowed: ...)`. */
  readonly message: string
}

export interface AddressConfig {
  readonly host: string
  /** 0: the kernel chooses (tests, `prove`). */
  readonly port: number
}

export interface ListenConfig {
  readonly address: AddressConfig
  readonly backlog: number
  readonly maxConnections: number
  readonly maxHeaderBytes: number
  /** null: off. */
  readonly minBodyRate: { readonly bytesPerSecond: number; readonly graceMs: number } | null
  readonly timeouts: {
    readonly headers: Sourced<number>
    readonly bodyIdle: Sourced<number>
    readonly writeIdle: Sourced<number>
    readonly keepalive: Sourced<number>
  }
  /** CIDRs, validated: `10.0.0.0/8`, `::1/128`. */
  readonly trustedProxies: readonly string[]
}

export interface LogConfig {
  readonly level: LogLevel
  /** `stdout`, `stderr`, or a file path. */
  readonly destination: string
  readonly access: boolean
  readonly bufferBytes: number
}

export interface SelfProbeConfig {
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Failures in a row after which the gateway is called ill. */
  readonly failAfter: number
}

export interface WatchdogConfig {
  readonly stallMs: number
  /** Infinity: off. */
  readonly killMs: number
  /** Where its thread answers; null: nowhere. */
  readonly address: AddressConfig | null
}

export interface EndpointConfig {
  /** As written, `http://127.0.0.1:3001`: the `endpoint` label in metrics and log. */
  readonly url: string
  readonly tls: boolean
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly hostname: string
  readonly port: number
  /** What goes into `Host` where `rewrite.host` is `upstream`: host, and the port unless it is the scheme's default. */
  readonly authority: string
}

export interface UpstreamConfig {
  readonly name: string
  readonly endpoints: readonly EndpointConfig[]
  readonly balance: 'least_request' | 'round_robin'
  readonly pool: {
    /** Per endpoint. */
    readonly maxConnections: number
    readonly keepaliveMs: number
    /** Infinity: off. */
    readonly maxAgeMs: number
    /** Exchanges that may wait for a connection of this upstream. */
    readonly queue: number
  }
  readonly tls: {
    readonly verify: boolean
    /** Path of a PEM file, resolved against the configuration file's folder; null: the system's authorities. */
    readonly caFile: string | null
    /** For SNI and for the check of the certificate; null: the endpoint's host name. */
    readonly serverName: string | null
  }
}

/** The six timeouts of the upstream hop that every route has. */
export interface RouteTimeouts {
  readonly request: Sourced<number>
  readonly queue: Sourced<number>
  readonly connect: Sourced<number>
  readonly requestWrite: Sourced<number>
  readonly responseHeaders: Sourced<number>
  readonly bodyIdle: Sourced<number>
}

export interface HeaderRules {
  /** Names as written, values expanded. */
  readonly set: readonly (readonly [name: string, value: string])[]
  /** Lower-case names. */
  readonly remove: readonly string[]
}

/** What is promised of a route. Only `rules` reads it. */
export interface SloConfig {
  /** Percent; null: nothing was said. */
  readonly availability: number | null
  /** Ascending. */
  readonly latency: readonly { readonly percent: number; readonly ms: number }[]
}

export interface RouteConfig {
  readonly name: string
  readonly match: {
    /** Lower-case, without port; null: any. */
    readonly host: string | null
    readonly kind: 'exact' | 'prefix'
    /** Begins with `/`; a prefix other than `/` does not end with one. */
    readonly path: string
    /** Upper-case; null: any. */
    readonly methods: readonly string[] | null
    /** What becomes of a `%2F` in the path. */
    readonly encodedSlashes: 'refuse' | 'keep'
  }
  readonly rewrite: {
    /** What replaces the matched prefix (or exact path); null: nothing is replaced. */
    readonly path: string | null
    readonly host: { readonly kind: 'upstream' | 'preserve' } | { readonly kind: 'literal'; readonly value: string }
  }
  /** The name of one of `upstreams`. */
  readonly upstream: string
  readonly streaming: boolean
  readonly timeouts: RouteTimeouts
  readonly onClientAbort: Sourced<'cancel' | 'finish'>
  readonly limits: { readonly bodyBytes: Sourced<number>; readonly inFlight: Sourced<number> }
  readonly slo: SloConfig
  readonly requestHeaders: HeaderRules
  readonly responseHeaders: HeaderRules
  /** null: an upgrade is answered 426. */
  readonly websocket: WebSocketConfig | null
}

/** How a route serves WebSocket. Only written on the route itself: `origin` says whether each value is. */
export interface WebSocketConfig {
  readonly mode: 'tunnel' | 'relay'
  /** Infinity: off. */
  readonly idleTimeout: Sourced<number>
  /** Infinity: off. */
  readonly maxLifetime: Sourced<number>
  /** Relay only, as are those below. Infinity: off. */
  readonly pingInterval: Sourced<number>
  readonly maxMessageBytes: number
  readonly maxBufferedBytes: number
  /** null: off. */
  readonly reconnect: { readonly attempts: number; readonly backoffMs: number; readonly maxBackoffMs: number } | null
}

/** What the operator says of those around the gateway; null: nothing was said. Only `lint` reads it. */
export interface NeighboursConfig {
  readonly front: { readonly responseTimeoutMs: number | null; readonly keepaliveIdleMs: number | null }
  readonly upstreams: readonly NeighbourUpstream[]
  readonly kubernetes: { readonly terminationGracePeriodMs: number | null }
}

export interface NeighbourUpstream {
  /** The name of one of `upstreams`. */
  readonly name: string
  readonly keepaliveIdleMs: number | null
  readonly requestTimeoutMs: number | null
  /** For each endpoint. */
  readonly acceptBacklog: number | null
}
