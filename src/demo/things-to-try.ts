/**
 * What the demo invites to: each a command, and what will be seen in the answer, in the log and in the metrics. Data,
 * so that a test can do every one of them and hold the demo to its word (test/demo.test.ts).
 */
import type { Outcome, Stage } from '../outcome.ts'

/** What the access line of one exchange will say. */
export interface Seen {
  readonly status: number
  readonly outcome: Outcome
  readonly stage?: Stage
  readonly attempts?: number
}

export interface ThingToTry {
  readonly shows: string
  /** For a shell; GATEWAY stands for the gateway's URL. */
  readonly command: string
  readonly answer: string
  /** curl's exit code: 18 is a truncated body, 28 its own time limit. Of several curls in one command, 0. */
  readonly curlExit: number
  /** One for each exchange, in no order. */
  readonly log: readonly Seen[]
  /** A counter, and by how much it grows. */
  readonly metric: string
  readonly by: number
}

export const thingsToTry: readonly ThingToTry[] = [
  {
    shows: 'a backend that is well',
    command: 'curl -i GATEWAY/fast',
    answer: '200, a small JSON, and the X-Request-Id that the log line has',
    curlExit: 0,
    log: [{ status: 200, outcome: 'completed' }],
    metric: 'hopgate_requests_total{route="fast",outcome="completed"}',
    by: 1,
  },
  {
    shows: 'one that is slow, but in time: t_response_headers in the log says where the time went',
    command: 'curl -i GATEWAY/slow',
    answer: '200 after 0.3 s',
    curlExit: 0,
    log: [{ status: 200, outcome: 'completed' }],
    metric: 'hopgate_stage_duration_seconds_count{route="slow",stage="response_headers"}',
    by: 1,
  },
  {
    shows: 'one that takes the request and never answers',
    command: 'curl -i GATEWAY/hang',
    answer: '504 after 0.5 s: a problem+json that names the outcome, and a Proxy-Status',
    curlExit: 0,
    log: [{ status: 504, outcome: 'response_headers_timeout', stage: 'response_headers' }],
    metric: 'hopgate_timeouts_total{route="hang",timeout="response_headers"}',
    by: 1,
  },
  {
    shows: 'one that stops in mid-body: the status was sent, so the client is shown the truncation',
    command: 'curl -sS -o /dev/null GATEWAY/stuck',
    answer: '200, 64 KiB of 1 MiB, then curl: (18) after 0.5 s',
    curlExit: 18,
    log: [{ status: 200, outcome: 'body_idle_timeout', stage: 'response_body' }],
    metric: 'hopgate_timeouts_total{route="stuck",timeout="body_idle"}',
    by: 1,
  },
  {
    shows: 'one that drips a byte every 0.1 s: never idle, so the deadline over the whole ends it',
    command: 'curl -sS -o /dev/null GATEWAY/drip',
    answer: '200, some bytes of 1000, then curl: (18) after 1.5 s',
    curlExit: 18,
    log: [{ status: 200, outcome: 'deadline_exceeded', stage: 'response_body' }],
    metric: 'hopgate_timeouts_total{route="drip",timeout="request"}',
    by: 1,
  },
  {
    shows: 'one that ends before its Content-Length',
    command: 'curl -sS -o /dev/null GATEWAY/truncated',
    answer: '200, 1000 bytes of 65536, then curl: (18)',
    curlExit: 18,
    log: [{ status: 200, outcome: 'truncated', stage: 'response_body' }],
    metric: 'hopgate_failures_total{route="truncated",outcome="truncated",party="upstream"}',
    by: 1,
  },
  {
    shows: 'one that resets the connection instead of answering',
    command: 'curl -i GATEWAY/reset',
    answer: '502 at once',
    curlExit: 0,
    log: [{ status: 502, outcome: 'reset', stage: 'response_headers' }],
    metric: 'hopgate_failures_total{route="reset",outcome="reset",party="upstream"}',
    by: 1,
  },
  {
    shows: 'one that is not there',
    command: 'curl -i GATEWAY/refuse',
    answer: '502 at once; the address and the errno are in the log line, not in the answer',
    curlExit: 0,
    log: [{ status: 502, outcome: 'connect_refused', stage: 'connect' }],
    metric: 'hopgate_failures_total{route="refuse",outcome="connect_refused",stage="connect"}',
    by: 1,
  },
  {
    shows: 'one behind a firewall that drops every packet',
    command: 'curl -i GATEWAY/black-hole',
    answer: '504 after 0.4 s',
    curlExit: 0,
    log: [{ status: 504, outcome: 'connect_timeout', stage: 'connect' }],
    metric: 'hopgate_timeouts_total{route="black-hole",timeout="connect"}',
    by: 1,
  },
  {
    shows: 'one that does not speak HTTP',
    command: 'curl -i GATEWAY/garbage',
    answer: '502 at once',
    curlExit: 0,
    log: [{ status: 502, outcome: 'protocol_error', stage: 'response_headers' }],
    metric: 'hopgate_failures_total{route="garbage",outcome="protocol_error"}',
    by: 1,
  },
  {
    shows: 'one that resets every connection that is used again: a GET is sent once more, on a fresh one',
    command: 'curl -s GATEWAY/flaky; curl -i GATEWAY/flaky',
    answer: '200 both times; the second line of the log has "attempts":2',
    curlExit: 0,
    log: [
      { status: 200, outcome: 'completed', attempts: 1 },
      { status: 200, outcome: 'completed', attempts: 2 },
    ],
    metric: 'hopgate_connection_reuse_total{upstream="flaky",reused="true"}',
    by: 1,
  },
  {
    shows: 'the same with a POST, which might be done twice, so it is not sent again',
    command: 'curl -s GATEWAY/flaky; curl -s -d x=1 GATEWAY/flaky; curl -i -d x=1 GATEWAY/flaky',
    answer: '502 where the connection had been used before, 200 else',
    curlExit: 0,
    log: [
      { status: 200, outcome: 'completed' },
      { status: 502, outcome: 'stale_connection', stage: 'response_headers' },
      { status: 200, outcome: 'completed' },
    ],
    metric: 'hopgate_failures_total{route="flaky",outcome="stale_connection"}',
    by: 1,
  },
  {
    shows: 'an upload that comes back as it is',
    command:
      "head -c 500000 /dev/zero | curl -sS --data-binary @- -o /dev/null -w '%{http_code} %{size_download}\\n' GATEWAY/echo",
    answer: '200, 500000 bytes',
    curlExit: 0,
    log: [{ status: 200, outcome: 'completed' }],
    metric: 'hopgate_bytes_total{route="echo",direction="in"}',
    by: 500_000,
  },
  {
    shows: 'an upload above limits.body',
    command: 'head -c 2000000 /dev/zero | curl -i --data-binary @- GATEWAY/echo',
    answer: '413',
    curlExit: 0,
    log: [{ status: 413, outcome: 'body_too_large', stage: 'request_body' }],
    metric: 'hopgate_failures_total{route="echo",outcome="body_too_large",party="client"}',
    by: 1,
  },
  {
    shows: 'a client that stops in the middle of its upload: its own fault, and the backend is not blamed',
    command: '(printf half; sleep 2) | curl -i -T - GATEWAY/fast',
    answer: '408 after 1 s',
    curlExit: 0,
    log: [{ status: 408, outcome: 'client_timeout', stage: 'request_body' }],
    metric: 'hopgate_timeouts_total{route="fast",timeout="listen.timeouts.body_idle"}',
    by: 1,
  },
  {
    shows:
      'a client that gives up while the backend works: the backend is cancelled, hopgate_upstream_cancel_seconds says how fast',
    command: 'curl -sS -m 0.1 GATEWAY/slow',
    answer: 'curl: (28)',
    curlExit: 28,
    log: [{ status: 499, outcome: 'client_abort', stage: 'response_headers' }],
    metric: 'hopgate_upstream_cancel_seconds_count{route="slow"}',
    by: 1,
  },
  {
    shows:
      'the same with on_client_abort: finish. The line comes when the backend is done, and counts what nobody read',
    command: 'curl -sS -m 0.1 GATEWAY/finish',
    answer: 'curl: (28)',
    curlExit: 28,
    log: [{ status: 499, outcome: 'client_abort', stage: 'response_headers' }],
    metric: 'hopgate_aborted_writes_total{route="finish"}',
    by: 1,
  },
  {
    shows: 'a client that leaves in the middle of a large answer',
    command: 'curl -sS -m 0.5 --limit-rate 100k -o /dev/null GATEWAY/big',
    answer: '200, some of 64 MiB, then curl: (28); aborted_write_bytes in the log is what was on its way',
    curlExit: 28,
    log: [{ status: 200, outcome: 'client_abort', stage: 'client_write' }],
    metric: 'hopgate_failures_total{route="big",outcome="client_abort",party="client"}',
    by: 1,
  },
  {
    shows: 'three at once for a backend with one connection and a queue of one',
    command: 'for i in 1 2 3; do curl -s GATEWAY/narrow & done; wait',
    answer: 'one 200; one 503 at once, one 503 after 0.25 s, both with Retry-After',
    curlExit: 0,
    log: [
      { status: 200, outcome: 'completed' },
      { status: 503, outcome: 'queue_full', stage: 'queue' },
      { status: 503, outcome: 'queue_timeout', stage: 'queue' },
    ],
    metric: 'hopgate_failures_total{upstream="narrow",stage="queue",party="gateway"}',
    by: 2,
  },
  {
    shows: 'two at once on a route for one (limits.in_flight)',
    command: 'for i in 1 2; do curl -s GATEWAY/single & done; wait',
    answer: 'one 200; one 503 at once',
    curlExit: 0,
    log: [
      { status: 200, outcome: 'completed' },
      { status: 503, outcome: 'overloaded', stage: 'route' },
    ],
    metric: 'hopgate_failures_total{route="single",outcome="overloaded"}',
    by: 1,
  },
  {
    shows: 'a path that leads nowhere',
    command: 'curl -i GATEWAY/nowhere',
    answer: '404',
    curlExit: 0,
    log: [{ status: 404, outcome: 'no_route', stage: 'route' }],
    metric: 'hopgate_requests_total{route="_none",outcome="no_route"}',
    by: 1,
  },
]

/** The page that `hopgate demo` prints. */
export function renderThingsToTry(gatewayUrl: string, adminUrl: string): string {
  const parts = thingsToTry.map(({ shows, command, answer, log, metric, by }, index) =>
    [
      `${String(index + 1).padStart(2)}  ${shows}`,
      `    $ ${command.replaceAll('GATEWAY', gatewayUrl)}`,
      `    answer   ${answer}`,
      `    log      ${log.map(renderSeen).join('\n             ')}`,
      `    metric   ${metric} +${by}`,
    ].join('\n'),
  )
  return `hopgate demo: the gateway at ${gatewayUrl}, its admin pages at ${adminUrl}

Every backend is built in, and most of them misbehave. Try, in another terminal:

${parts.join('\n\n')}

Look at it:
    ${adminUrl}/ in a browser: all of it, live
    $ curl ${adminUrl}/metrics | grep ^hopgate_      every number
    $ curl ${adminUrl}/-/inflight                    what is under way, and in which stage
    $ curl ${adminUrl}/-/routes                      every timeout: its value, from where, how often it fired
    $ curl ${adminUrl}/-/upstreams                   pools and queues
    $ curl -i ${adminUrl}/readyz                     503 once you press Ctrl-C

Ctrl-C ends it. The log follows, a line for each request.

`
}

/** As it stands in the line, so that it can be searched for. */
function renderSeen({ status, outcome, stage, attempts }: Seen): string {
  const where = stage === undefined ? '' : `,"stage":"${stage}"`
  return `"status":${status},"outcome":"${outcome}"${where}${attempts === undefined ? '' : ` ... "attempts":${attempts}`}`
}
