/**
 * The words of the gateway: stages, outcomes, parties, and the one table from which status, party, log level,
 * Proxy-Status and metric labels are read. Nothing else in the code decides any of these.
 */

/** Where an exchange is in its life, in the order in which a request passes through. */
export const STAGES = [
  'request_headers',
  'route',
  'request_body',
  'queue',
  'dns',
  'connect',
  'tls',
  'request_write',
  'response_headers',
  'response_body',
  'client_write',
  'tunnel',
] as const
export type Stage = (typeof STAGES)[number]

/** Who is at fault. */
export type Party = 'none' | 'client' | 'gateway' | 'upstream'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/**
 * The configurable timeouts that an exchange can run into, by the names that operators write, and read in
 * `hopgate_timeouts_total{timeout}`. `listen.` ones bound the client hop, the others the upstream hop.
 */
export const TIMEOUTS = [
  'listen.timeouts.headers',
  'listen.timeouts.body_idle',
  'listen.timeouts.write_idle',
  'listen.timeouts.keepalive',
  'listen.min_body_rate',
  'queue',
  'connect',
  'request_write',
  'response_headers',
  'body_idle',
  'request',
  'websocket.idle_timeout',
  'websocket.max_lifetime',
  'websocket.ping_interval',
] as const
export type TimeoutName = (typeof TIMEOUTS)[number]

/** Recorded, never sent: the client was gone before any status could be (nginx's 499). */
export const CLIENT_CLOSED_REQUEST = 499

interface OutcomeRow {
  /** The status sent while it still can be; `499` is recorded, never sent; `0` means "the upstream's". */
  readonly status: number
  readonly party: Party
  readonly level: LogLevel
  /** The error type of RFC 9209 section 2.3 that a reply made by the gateway names in `Proxy-Status`. */
  readonly proxyStatus: string
  /** True where the caller may come back soon: the reply carries `Retry-After`. */
  readonly retryAfter?: true
}

/** The outcomes: a closed set. Every exchange ends with exactly one of them. */
export const OUTCOMES = {
  completed: { status: 0, party: 'none', level: 'info', proxyStatus: '' },
  client_abort: { status: CLIENT_CLOSED_REQUEST, party: 'client', level: 'info', proxyStatus: '' },
  client_timeout: { status: 408, party: 'client', level: 'info', proxyStatus: 'http_request_error' },
  bad_request: { status: 400, party: 'client', level: 'info', proxyStatus: 'http_request_error' },
  body_too_large: { status: 413, party: 'client', level: 'info', proxyStatus: 'http_request_error' },
  no_route: { status: 404, party: 'client', level: 'info', proxyStatus: 'destination_not_found' },
  loop_detected: { status: 508, party: 'client', level: 'warn', proxyStatus: 'proxy_loop_detected' },
  overloaded: {
    status: 503,
    party: 'gateway',
    level: 'warn',
    proxyStatus: 'proxy_internal_response',
    retryAfter: true,
  },
  queue_full: {
    status: 503,
    party: 'gateway',
    level: 'warn',
    proxyStatus: 'connection_limit_reached',
    retryAfter: true,
  },
  queue_timeout: {
    status: 503,
    party: 'gateway',
    level: 'warn',
    proxyStatus: 'connection_limit_reached',
    retryAfter: true,
  },
  draining: { status: 503, party: 'gateway', level: 'info', proxyStatus: 'proxy_internal_response' },
  dns_error: { status: 502, party: 'upstream', level: 'warn', proxyStatus: 'dns_error' },
  connect_refused: { status: 502, party: 'upstream', level: 'warn', proxyStatus: 'connection_refused' },
  connect_unreachable: { status: 502, party: 'upstream', level: 'warn', proxyStatus: 'destination_ip_unroutable' },
  connect_timeout: { status: 504, party: 'upstream', level: 'warn', proxyStatus: 'connection_timeout' },
  tls_error: { status: 502, party: 'upstream', level: 'error', proxyStatus: 'tls_protocol_error' },
  stale_connection: { status: 502, party: 'upstream', level: 'info', proxyStatus: 'connection_terminated' },
  reset: { status: 502, party: 'upstream', level: 'warn', proxyStatus: 'connection_terminated' },
  request_write_timeout: { status: 504, party: 'upstream', level: 'warn', proxyStatus: 'connection_write_timeout' },
  response_headers_timeout: { status: 504, party: 'upstream', level: 'warn', proxyStatus: 'http_response_timeout' },
  body_idle_timeout: { status: 504, party: 'upstream', level: 'warn', proxyStatus: 'connection_read_timeout' },
  truncated: { status: 502, party: 'upstream', level: 'warn', proxyStatus: 'http_response_incomplete' },
  protocol_error: { status: 502, party: 'upstream', level: 'warn', proxyStatus: 'http_protocol_error' },
  deadline_exceeded: { status: 504, party: 'upstream', level: 'warn', proxyStatus: 'http_response_timeout' },
  upgrade_failed: { status: 426, party: 'client', level: 'info', proxyStatus: 'http_request_denied' },
  tunnel_closed: { status: 101, party: 'none', level: 'info', proxyStatus: '' },
  tunnel_idle: { status: 101, party: 'none', level: 'info', proxyStatus: '' },
  tunnel_lifetime: { status: 101, party: 'none', level: 'info', proxyStatus: '' },
  tunnel_error: { status: 101, party: 'upstream', level: 'warn', proxyStatus: '' },
  drain_killed: { status: 503, party: 'gateway', level: 'warn', proxyStatus: 'proxy_internal_response' },
  resource_exhausted: { status: 503, party: 'gateway', level: 'error', proxyStatus: 'proxy_internal_error' },
  internal_error: { status: 500, party: 'gateway', level: 'error', proxyStatus: 'proxy_internal_error' },
} as const satisfies Record<string, OutcomeRow>

export type Outcome = keyof typeof OUTCOMES
