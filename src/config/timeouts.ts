/** The ten timeouts, each by its two events: the text of the reference and of the editor's hints. */
import type { TimeoutName } from '../outcome.ts'

export interface TimeoutEvents {
  readonly hop: 'client' | 'gateway' | 'upstream' | 'whole'
  readonly starts: string
  readonly ends: string
  /** What sets it back to its full length; null: nothing does. */
  readonly restarts: string | null
  readonly outcome: string
  /** What the client sees. */
  readonly status: string
}

export const TIMEOUT_EVENTS = {
  'listen.timeouts.headers': {
    hop: 'client',
    starts: 'the first byte of a request, or the accept of a connection that sends none',
    ends: 'the end of its headers',
    restarts: null,
    outcome: '`client_timeout`, request_headers',
    status: '408',
  },
  'listen.timeouts.body_idle': {
    hop: 'client',
    starts: 'the gateway wants body bytes',
    ends: 'the body is complete',
    restarts: 'at each byte received; not running while the upstream makes us wait',
    outcome: '`client_timeout`, request_body',
    status: '408',
  },
  'listen.timeouts.write_idle': {
    hop: 'client',
    starts: 'response bytes are pending at the client’s socket',
    ends: 'they are flushed',
    restarts: 'at each byte the client takes',
    outcome: '`client_timeout`, client_write',
    status: 'connection destroyed',
  },
  'listen.timeouts.keepalive': {
    hop: 'client',
    starts: 'the end of the previous exchange',
    ends: 'the first byte of the next request',
    restarts: null,
    outcome: 'connection closed, no exchange',
    status: '-',
  },
  queue: {
    hop: 'gateway',
    starts: 'the exchange asks for an upstream connection slot',
    ends: 'the slot is taken',
    restarts: null,
    outcome: '`queue_timeout`, queue',
    status: '503',
  },
  connect: {
    hop: 'upstream',
    starts: 'the dial begins (DNS, TCP and TLS together)',
    ends: 'the connection is usable',
    restarts: null,
    outcome: '`connect_timeout`; dns, connect or tls, wherever it was',
    status: '504',
  },
  request_write: {
    hop: 'upstream',
    starts: 'request bytes are pending at the upstream’s socket',
    ends: 'they are flushed',
    restarts: 'at each byte the upstream takes',
    outcome: '`request_write_timeout`, request_write',
    status: '504',
  },
  response_headers: {
    hop: 'upstream',
    starts: 'the last request byte was written',
    ends: 'the final response headers are received (a 1xx does not end it)',
    restarts: null,
    outcome: '`response_headers_timeout`, response_headers',
    status: '504',
  },
  body_idle: {
    hop: 'upstream',
    starts: 'the response headers were received',
    ends: 'the response body is complete',
    restarts: 'at each byte received; not running while the client makes us wait',
    outcome: '`body_idle_timeout`, response_body',
    status: 'as sent; the client’s connection is cut',
  },
  request: {
    hop: 'whole',
    starts: 'the last request-body byte was received (at once if there is no body)',
    ends: 'the last response byte was handed to the client',
    restarts: null,
    outcome: '`deadline_exceeded`, whatever stage it was in',
    status: '504, or cut where headers were already sent',
  },
} as const satisfies {
  readonly [N in Exclude<TimeoutName, 'listen.min_body_rate' | `websocket.${string}`>]: TimeoutEvents
}

/** Those of a route with `websocket`, once both sides have shaken hands; until then the ten hold. */
export const WEBSOCKET_TIMEOUT_EVENTS = {
  'websocket.idle_timeout': {
    hop: 'whole',
    starts: 'the 101 was sent',
    ends: 'the connection is closed',
    restarts: 'at each byte that moves, in either direction (relay: at each message, and each ping of a peer)',
    outcome: '`tunnel_idle`, tunnel',
    status: '101; cut (relay: closed with 1001)',
  },
  'websocket.max_lifetime': {
    hop: 'whole',
    starts: 'the 101 was sent',
    ends: 'the connection is closed',
    restarts: null,
    outcome: '`tunnel_lifetime`, tunnel',
    status: '101; cut (relay: closed with 1012)',
  },
  'websocket.ping_interval': {
    hop: 'whole',
    starts: 'a ping was sent',
    ends: 'the peer sends something',
    restarts: null,
    outcome: '`tunnel_error`, tunnel (a backend is reconnected to)',
    status: '101; cut',
  },
} as const satisfies { readonly [N in Extract<TimeoutName, `websocket.${string}`>]: TimeoutEvents }

export type WebSocketTimeoutName = keyof typeof WEBSOCKET_TIMEOUT_EVENTS

/** The timeouts that are durations; `listen.min_body_rate` is a rate. */
export type DurationName = keyof typeof TIMEOUT_EVENTS

/** One sentence for the schema: its two events. */
export function timeoutDoc(name: DurationName): string {
  return sentence(TIMEOUT_EVENTS[name])
}

export function websocketTimeoutDoc(name: WebSocketTimeoutName): string {
  return sentence(WEBSOCKET_TIMEOUT_EVENTS[name])
}

function sentence({ starts, ends, restarts }: TimeoutEvents): string {
  return `From: ${starts}. To: ${ends}.${restarts === null ? '' : ` Restarts ${restarts}.`}`
}
