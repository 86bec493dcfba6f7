/** The alerts that every gateway has, with what they take from its configuration. */
import type { Config } from '../config/config.ts'
import { formatDuration } from '../config/duration.ts'
import { type Alert, promDuration, promRegex } from './rule.ts'

const MINUTE = 60_000

/** Requests per second below which a share says nothing: three in a minute. */
const LEAST_RATE = 0.05

const ABORT_SHARE = 0.05
const TIMEOUT_SHARE = 0.02
const FAILURE_SHARE = 0.02
const FDS_SHARE = 0.8
const LOOP_DELAY_SECONDS = 0.1
/** 2 % of the longest built-in timeout, and a bound of the histogram. */
const OVERRUN_SECONDS = 0.2
/** The deadline's clock starts with the end of the upload. */
const UPLOAD_ALLOWANCE_SECONDS = 30

/** Of metrics that every Node process has: only those of a hopgate. */
const OURS = 'and on (job, instance) hopgate_config_info'

export function routeAlerts(config: Config, scale: number): readonly Alert[] {
  const window = promDuration(5 * MINUTE * scale)
  const streaming = config.routes.filter(route => route.streaming).map(({ name }) => name)
  // Leaving is how a client ends a stream.
  const noStreams = streaming.length === 0 ? '' : `,route!~${promRegex(streaming)}`
  const requests = `sum by (route) (rate(hopgate_requests_total[${window}]))`
  const busy = `${requests} > ${LEAST_RATE}`
  return [
    {
      alert: 'HopgateClientsLeave',
      expr: `sum by (route) (rate(hopgate_requests_total{code="499"${noStreams}}[${window}]))
/ ${requests} > ${ABORT_SHARE}
and ${busy}`,
      forMs: 5 * MINUTE,
      severity: 'ticket',
      summary:
        'route {{ $labels.route }}: {{ $value | humanizePercentage }} of its clients leave before they have an answer; hopgate explain --summary shows how long they wait',
      runbook: 'OUTCOMES.md#client_abort',
    },
    {
      alert: 'HopgateGatewayTimeouts',
      expr: `sum by (route, outcome) (rate(hopgate_requests_total{code="504"}[${window}]))
/ on (route) group_left ${requests} > ${TIMEOUT_SHARE}
and on (route) ${busy}`,
      forMs: 5 * MINUTE,
      severity: 'page',
      summary:
        'route {{ $labels.route }}: {{ $value | humanizePercentage }} of its requests are answered 504 ({{ $labels.outcome }})',
      runbook: 'OUTCOMES.md#{{ $labels.outcome }}',
    },
    {
      alert: 'HopgateFailures',
      expr: `sum by (route, upstream, outcome, stage, party) (rate(hopgate_failures_total{party=~"upstream|gateway"}[${window}]))
/ on (route) group_left ${requests} > ${FAILURE_SHARE}
and on (route) ${busy}`,
      forMs: 5 * MINUTE,
      severity: 'page',
      summary:
        'route {{ $labels.route }}: {{ $value | humanizePercentage }} of its requests fail as {{ $labels.outcome }} in stage {{ $labels.stage }}, by the {{ $labels.party }} ({{ $labels.upstream }})',
      runbook: 'OUTCOMES.md#{{ $labels.outcome }}',
    },
    {
      alert: 'HopgateOldestBeyondDeadline',
      expr: `hopgate_oldest_inflight_seconds
> on (job, instance, route) (hopgate_timeout_configured_seconds{timeout="request"} + ${UPLOAD_ALLOWANCE_SECONDS})`,
      forMs: MINUTE,
      severity: 'ticket',
      summary: `route {{ $labels.route }} on {{ $labels.instance }}: the oldest exchange in flight is {{ $value | humanizeDuration }} old, more than ${UPLOAD_ALLOWANCE_SECONDS} s beyond the deadline: a very long upload, or a leak`,
      runbook: 'OUTCOMES.md#when-the-numbers-themselves-look-wrong',
    },
  ]
}

export function processAlerts(config: Config, scale: number): readonly Alert[] {
  const window = promDuration(5 * MINUTE * scale)
  const wrong = 'OUTCOMES.md#when-the-numbers-themselves-look-wrong'
  const on = 'on {{ $labels.instance }}'
  // Whoever waits for an answer is in CLOSE_WAIT until its exchange ends, which a deadline bounds.
  const longest = longestDeadlineMs(config)
  return [
    {
      alert: 'HopgateDown',
      expr: 'absent(hopgate_config_info)',
      forMs: 2 * MINUTE,
      severity: 'page',
      summary: 'no hopgate is scraped: it is down, or Prometheus does not reach its admin listener',
      runbook: 'OUTCOMES.md',
    },
    {
      alert: 'HopgateSelfprobeFails',
      expr: 'hopgate_selfprobe_up == 0',
      forMs: 0,
      severity: 'page',
      summary: `the gateway ${on} does not answer its own calls: /healthz is 503`,
      runbook: wrong,
    },
    {
      alert: 'HopgateImbalance',
      expr: 'hopgate_accounting_imbalance != 0',
      forMs: MINUTE,
      severity: 'ticket',
      summary: `the books of {{ $labels.ledger }} ${on} are off by {{ $value }}: something leaks`,
      runbook: wrong,
    },
    {
      alert: 'HopgateOverdue',
      expr: `sum by (job, instance, route, stage) (increase(hopgate_overdue_requests_total[${promDuration(10 * MINUTE * scale)}])) > 0`,
      forMs: 0,
      severity: 'ticket',
      summary: `route {{ $labels.route }} ${on}: {{ $value | humanize }} exchanges outlived their deadline in stage {{ $labels.stage }}`,
      runbook: wrong,
    },
    {
      alert: 'HopgateTimeoutsLate',
      expr: `histogram_quantile(0.99, sum by (job, instance, timeout, le) (rate(hopgate_timeout_overrun_seconds_bucket[${window}]))) > ${OVERRUN_SECONDS}`,
      forMs: 5 * MINUTE,
      severity: 'ticket',
      summary: `the timeout {{ $labels.timeout }} ${on} fires {{ $value | humanizeDuration }} late: the process does not get its CPU, or its event loop is busy`,
      runbook: wrong,
    },
    {
      alert: 'HopgateLoopDelay',
      expr: `nodejs_eventloop_lag_p99_seconds > ${LOOP_DELAY_SECONDS}\n${OURS}`,
      forMs: 5 * MINUTE,
      severity: 'ticket',
      summary: `the event loop ${on} is {{ $value | humanizeDuration }} late (p99): everything is late by it`,
      runbook: wrong,
    },
    {
      alert: 'HopgateStalls',
      expr: `increase(hopgate_event_loop_stalls_total[${promDuration(10 * MINUTE * scale)}]) > 0`,
      forMs: 0,
      severity: 'ticket',
      summary: `the event loop ${on} stood still {{ $value | humanize }} times: its stack is on stderr`,
      runbook: wrong,
    },
    {
      alert: 'HopgateLogDropped',
      expr: `sum by (job, instance, class) (rate(hopgate_log_dropped_total[${window}])) > 0`,
      forMs: MINUTE,
      severity: 'ticket',
      summary: `the log ${on} drops {{ $value | humanize }} {{ $labels.class }} lines a second: its reader is too slow`,
      runbook: wrong,
    },
    {
      alert: 'HopgateLogDown',
      expr: 'hopgate_log_sink_up == 0',
      forMs: MINUTE,
      severity: 'ticket',
      summary: `the log ${on} cannot be written; requests are served all the same`,
      runbook: wrong,
    },
    {
      alert: 'HopgateAcceptQueueOverflows',
      expr: `increase(hopgate_listen_overflows_total[${window}]) > 0`,
      forMs: 0,
      severity: 'page',
      summary: `{{ $value | humanize }} times the accept queue ${on} was full: those clients wait 1 s and longer; hopgate doctor says what the queue holds`,
      runbook: 'DOCTOR.md#what-is-looked-at',
    },
    {
      alert: 'HopgateCloseWait',
      expr: 'sum by (job, instance, side) (hopgate_sockets{state="close_wait"}) > 0',
      forMs: longest + MINUTE,
      severity: 'ticket',
      summary: `{{ $value }} connections of {{ $labels.side }} ${on} are in CLOSE_WAIT for longer than any deadline (${formatDuration(longest)}): closed by the peer, and not by us`,
      runbook: wrong,
    },
    {
      alert: 'HopgateDescriptors',
      expr: `process_open_fds / process_max_fds > ${FDS_SHARE}\n${OURS}`,
      forMs: 5 * MINUTE,
      severity: 'page',
      summary: `{{ $value | humanizePercentage }} of the file descriptors ${on} are open; above 100 % nothing is accepted and nothing dialled`,
      runbook: 'OUTCOMES.md#resource_exhausted',
    },
  ]
}

function longestDeadlineMs({ routes }: Config): number {
  const deadlines = routes.map(({ timeouts }) => timeouts.request.value).filter(Number.isFinite)
  return Math.max(0, ...deadlines)
}
