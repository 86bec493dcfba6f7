/** The keys of `defaults`, `upstreams.NAME` and `routes[i]`, with their kinds, ranges, built-in defaults and meanings. */
import type { EndpointConfig } from './config.ts'
import { inherited, optional, part, presence, required, requiredPart, written } from './field.ts'
import {
  endpoint,
  headerName,
  headerValue,
  hostName,
  method,
  name,
  path,
  rewriteHost,
  serverName,
} from './http-values.ts'
import { dictionary, list, orNull, section, type Values } from './kind.ts'
import { boolean, duration, durationOrOff, integer, oneOf, percent, size, text } from './scalars.ts'
import { timeoutDoc } from './timeouts.ts'
import { websocket } from './websocket-schema.ts'

const GIB = 1024 ** 3

/** `body_idle` of a route with `streaming: true`, where nothing else is written. */
export const STREAMING_BODY_IDLE = '5m'

/** Reserved at the levels where they will appear: refused with "not supported yet", never ignored. */
export const LATER_PER_ROUTE = [
  'retry',
  'health_check',
  'outlier_detection',
  'circuit_breaker',
  'rate_limit',
  'deadline_propagation',
  'trace_context',
]

export const anyText = (type: string, allowed: string) =>
  text({ type, allowed }, value => (value === '' ? 'empty' : null))

export const routeTimeouts = section({
  request: inherited(durationOrOff, '15s', `${timeoutDoc('request')} Covers queueing and every attempt.`),
  queue: inherited(duration, '1s', timeoutDoc('queue')),
  connect: inherited(duration, '2s', timeoutDoc('connect')),
  request_write: inherited(durationOrOff, '10s', timeoutDoc('request_write')),
  response_headers: inherited(durationOrOff, '10s', timeoutDoc('response_headers')),
  body_idle: inherited(
    durationOrOff,
    '10s',
    `${timeoutDoc('body_idle')} On a route with \`streaming: true\` the default is ${STREAMING_BODY_IDLE}.`,
  ),
})

export const limits = section({
  body: inherited(size({ min: 1, max: 1024 * GIB }), '10MiB', 'The largest request body; above it the answer is 413.'),
  in_flight: inherited(
    integer({ min: 1, max: 1_000_000 }),
    '1024',
    'Exchanges of one route at the same time; above it the answer is 503.',
  ),
})

/** The keys that `defaults`, `upstreams.NAME` and `routes[i]` share. */
export const routeValues = {
  timeouts: part(routeTimeouts, 'The timeouts of the upstream hop, and the deadline over the whole.'),
  on_client_abort: inherited(
    oneOf('cancel', 'finish'),
    'cancel',
    'What becomes of the upstream’s work when the client leaves: `cancel` closes the upstream connection at once; `finish` lets it run to its end, within its own timeouts, and throws the response away.',
  ),
  limits: part(limits, 'What one request, and one route, may use.'),
}
export const onClientAbort = routeValues.on_client_abort

const sameEndpoint = (endpoint: EndpointConfig) => `${endpoint.tls} ${endpoint.authority}`

export const upstream = section(
  {
    endpoints: requiredPart(
      list(endpoint, 1, sameEndpoint),
      'The addresses of this backend. A label of metrics and log as written here.',
    ),
    balance: optional(
      oneOf('least_request', 'round_robin'),
      'least_request',
      'Which endpoint gets the next request: the one with the fewest in flight, or each in turn.',
    ),
    pool: part(
      section({
        max_connections: optional(integer({ min: 1, max: 65535 }), '128', 'Connections to one endpoint.'),
        keepalive: optional(
          duration,
          '4s',
          'How long an idle connection is kept. Shorter than the upstream’s own keep-alive, so that it is the gateway that closes.',
        ),
        max_age: optional(durationOrOff, '5m', 'A connection older than this takes no further request.'),
        queue: optional(
          integer({ min: 0, max: 1_000_000 }),
          '256',
          'Exchanges that may wait for a connection of this upstream, over all its endpoints. 0: none waits, and the answer is 503 at once.',
        ),
      }),
      'The connections to each endpoint.',
    ),
    tls: part(
      section({
        verify: optional(boolean, 'true', 'Whether the certificate of an https endpoint must be valid for its name.'),
        ca_file: optional(
          orNull(anyText('file', 'the path of a PEM file')),
          'null',
          'Certificate authorities to believe instead of the system’s. Relative to the configuration file.',
        ),
        server_name: optional(
          orNull(serverName),
          'null',
          'For SNI and for the check of the certificate, instead of the endpoint’s host name.',
        ),
      }),
      'For https endpoints.',
    ),
    ...routeValues,
  },
  LATER_PER_ROUTE,
  'upstream',
)

const headerRules = section({
  set: part(
    dictionary(headerName, headerValue, 0, header => header.toLowerCase()),
    'Headers to set, replacing what was there.',
  ),
  remove: optional(list(headerName, 0), '[]', 'Headers to take out.'),
})

const slo = section({
  availability: written(
    percent({ above: 0, below: 100 }),
    'Percent of the requests that neither fail by the upstream or the gateway nor are answered 5xx, over 30 days.',
  ),
  latency: part(
    section({
      p50: written(duration, 'Half of the requests that complete take at most this.'),
      p90: written(duration, '90 % of them.'),
      p95: written(duration, '95 % of them.'),
      p99: written(duration, '99 % of them.'),
    }),
    'How long requests that complete may take, each over 30 days.',
  ),
})

export const route = section(
  {
    name: required(name, 'The `route` label of metrics and log. Each route has its own.'),
    match: part(
      section({
        host: optional(orNull(hostName), 'null', 'The host that the request must name; null: any.'),
        path: written(path, 'The exact path. Either this or `path_prefix`.'),
        path_prefix: written(
          path,
          'A path that the request’s path begins with, in whole segments: `/api` matches `/api` and `/api/x`, not `/apix`. A final `/` means nothing.',
        ),
        methods: optional(orNull(list(method, 1, word => word)), 'null', 'The methods that match; null: all.'),
        encoded_slashes: optional(
          oneOf('refuse', 'keep'),
          'refuse',
          'What becomes of a `%2F` in the path: `refuse` answers 400, because half of the servers read it as a slash; `keep` passes it on as it came, never matched as a slash.',
        ),
      }),
      'Which requests the route takes. The most specific match wins: host before no host, exact path before prefix, longer prefix before shorter.',
    ),
    rewrite: part(
      section({
        path_prefix: optional(
          orNull(path),
          'null',
          'What replaces the matched prefix or, where `match.path` is used, the whole path; null: the path stays.',
        ),
        host: optional(
          rewriteHost,
          'upstream',
          'The `Host` that the upstream sees: `upstream` is the endpoint’s own, `preserve` is the client’s, anything else is taken literally.',
        ),
      }),
      'What the upstream sees differently.',
    ),
    upstream: required(name, 'One of `upstreams`.'),
    streaming: optional(
      boolean,
      'false',
      `For responses without a natural end: there is no \`request\` deadline, \`body_idle\` governs, and its default becomes ${STREAMING_BODY_IDLE}.`,
    ),
    slo: part(slo, 'What you promise of this route. Changes nothing here: `hopgate rules` makes alerts of it.'),
    request_headers: part(headerRules, 'On the way to the upstream.'),
    response_headers: part(headerRules, 'On the way to the client.'),
    websocket: presence(
      websocket,
      'How the route serves WebSocket. Where it is left out, an upgrade is answered 426, and no upstream hears of it.',
    ),
    ...routeValues,
  },
  LATER_PER_ROUTE,
  'route',
)

export type WrittenUpstream = Values<typeof upstream.fields>
export type WrittenRoute = Values<typeof route.fields>
export type WrittenTimeouts = Values<typeof routeTimeouts.fields>
export type WrittenLimits = Values<typeof limits.fields>
export type WrittenSlo = Values<typeof slo.fields>
export type WrittenHeaders = Values<typeof headerRules.fields>
