/** For every alert: series that make it fire, and series that do not. */

/** Series in promtool's notation, one value a step. */
export type Series = Readonly<Record<string, string>>

export interface Case {
  readonly alert: string
  /** Beside the name, as in PromQL: `burn="fast"`. */
  readonly labels?: string
  readonly fires: readonly Series[]
  readonly silent: readonly Series[]
  /** Minutes after the start at which it is looked at. */
  readonly atMinutes?: number
  /** Between two values of a series, and between two looks at the rules; 1 where it is left out. */
  readonly stepMinutes?: number
}

const MINUTES = 60
/** `n` more each step. */
const grows = (n: number, minutes = MINUTES): string => `0+${n}x${minutes}`
const stays = (value: number, minutes = MINUTES): string => `${value}x${minutes}`

export const requests = (code: string, outcome: string, each: number, route = 'orders', minutes = MINUTES): Series => ({
  [`hopgate_requests_total{route="${route}",method="GET",code="${code}",outcome="${outcome}"}`]: grows(each, minutes),
})
const failures = (outcome: string, stage: string, party: string, each: number, minutes = MINUTES): Series => ({
  [`hopgate_failures_total{route="orders",upstream="up",outcome="${outcome}",stage="${stage}",party="${party}"}`]:
    grows(each, minutes),
})
const info: Series = { 'hopgate_config_info{version="0",config_hash="0",instance="i",job="j"}': stays(1) }
const fine = requests('200', 'completed', 600)
const overruns = (within1ms: number, within500ms: number): Series => ({
  'hopgate_timeout_overrun_seconds_bucket{timeout="connect",le="0.001"}': grows(within1ms),
  'hopgate_timeout_overrun_seconds_bucket{timeout="connect",le="0.2"}': grows(within1ms),
  'hopgate_timeout_overrun_seconds_bucket{timeout="connect",le="0.5"}': grows(within500ms),
  'hopgate_timeout_overrun_seconds_bucket{timeout="connect",le="+Inf"}': grows(within500ms),
})
const oldest = (route: string, age: number, deadline: string): Series => ({
  [`hopgate_oldest_inflight_seconds{route="${route}",job="j",instance="i"}`]: stays(age),
  [`hopgate_timeout_configured_seconds{route="${route}",timeout="request",job="j",instance="i"}`]: deadline,
})
/** Steps of half an hour, and of five minutes: a window of days is dear to look at every minute. */
const DAYS_4 = 4 * 48
const HOURS_7 = 7 * 12
const durations = (under20ms: number, under500ms: number, all: number, minutes: number): Series => {
  const bucket = (le: string) =>
    `hopgate_request_duration_seconds_bucket{route="orders",outcome="completed",le="${le}"}`
  return {
    [bucket('0.025')]: grows(under20ms, minutes),
    [bucket('0.5')]: grows(under500ms, minutes),
    'hopgate_request_duration_seconds_count{route="orders",outcome="completed"}': grows(all, minutes),
  }
}
/** Of 1000 requests in each step, so many that fail by the upstream. */
const failing = (each: number, minutes: number): Series => ({
  ...requests('200', 'completed', 1000 - each, 'orders', minutes),
  ...requests('502', 'reset', each, 'orders', minutes),
  ...failures('reset', 'response_headers', 'upstream', each, minutes),
})

const one = (name: string, labels: string, values: string): Series => ({
  [`${name}{job="j",instance="i"${labels}}`]: values,
})
const gauge = (name: string, bad: number, good: number, labels = '') => ({
  fires: [one(name, labels, stays(bad))],
  silent: [one(name, labels, stays(good))],
})

export const CASES: readonly Case[] = [
  {
    alert: 'HopgateClientsLeave',
    fires: [{ ...fine, ...requests('499', 'client_abort', 60) }],
    silent: [
      { ...fine, ...requests('499', 'client_abort', 20) },
      { ...requests('200', 'completed', 1), ...requests('499', 'client_abort', 1) },
      { ...requests('200', 'completed', 600, 'events'), ...requests('499', 'client_abort', 600, 'events') },
      fine,
    ],
  },
  {
    alert: 'HopgateGatewayTimeouts',
    fires: [{ ...fine, ...requests('504', 'response_headers_timeout', 20) }],
    silent: [{ ...fine, ...requests('504', 'response_headers_timeout', 10) }, fine],
  },
  {
    alert: 'HopgateFailures',
    fires: [
      { ...fine, ...failures('connect_refused', 'connect', 'upstream', 20) },
      { ...fine, ...failures('queue_full', 'queue', 'gateway', 20) },
    ],
    silent: [
      { ...fine, ...failures('client_abort', 'response_headers', 'client', 300) },
      { ...fine, ...failures('connect_refused', 'connect', 'upstream', 5) },
    ],
  },
  {
    alert: 'HopgateOldestBeyondDeadline',
    fires: [oldest('orders', 40, stays(8))],
    silent: [
      oldest('orders', 37, stays(8)),
      oldest(
        'events',
        40_000,
        Array(MINUTES + 1)
          .fill('Inf')
          .join(' '),
      ),
    ],
  },
  { alert: 'HopgateDown', fires: [{}], silent: [info] },
  { alert: 'HopgateSelfprobeFails', ...gauge('hopgate_selfprobe_up', 0, 1) },
  { alert: 'HopgateImbalance', ...gauge('hopgate_accounting_imbalance', -1, 0, ',ledger="slots"') },
  {
    alert: 'HopgateOverdue',
    fires: [one('hopgate_overdue_requests_total', ',route="orders",stage="queue"', '0x25 1x40')],
    silent: [one('hopgate_overdue_requests_total', ',route="orders",stage="queue"', '0 1x60')],
  },
  { alert: 'HopgateTimeoutsLate', fires: [overruns(900, 1000)], silent: [overruns(995, 1000)] },
  {
    alert: 'HopgateLoopDelay',
    fires: [{ ...info, ...one('nodejs_eventloop_lag_p99_seconds', '', stays(0.2)) }],
    silent: [
      { ...info, ...one('nodejs_eventloop_lag_p99_seconds', '', stays(0.05)) },
      { ...info, 'nodejs_eventloop_lag_p99_seconds{job="another",instance="i"}': stays(9) },
    ],
  },
  {
    alert: 'HopgateStalls',
    fires: [one('hopgate_event_loop_stalls_total', '', '0x25 1x40')],
    silent: [one('hopgate_event_loop_stalls_total', '', '0 1x60')],
  },
  {
    alert: 'HopgateLogDropped',
    fires: [one('hopgate_log_dropped_total', ',class="access"', grows(3))],
    silent: [one('hopgate_log_dropped_total', ',class="access"', stays(300))],
  },
  { alert: 'HopgateLogDown', ...gauge('hopgate_log_sink_up', 0, 1) },
  {
    alert: 'HopgateAcceptQueueOverflows',
    fires: [one('hopgate_listen_overflows_total', '', '0x28 7x40')],
    silent: [one('hopgate_listen_overflows_total', '', stays(7))],
  },
  {
    alert: 'HopgateCloseWait',
    ...gauge('hopgate_sockets', 3, 0, ',side="_listener",state="close_wait"'),
    silent: [
      one('hopgate_sockets', ',side="_listener",state="close_wait"', '0x29 3x1 0x40'),
      one('hopgate_sockets', ',side="_listener",state="established"', stays(3)),
    ],
  },
  {
    alert: 'HopgateDescriptors',
    fires: [{ ...info, ...one('process_open_fds', '', stays(900)), ...one('process_max_fds', '', stays(1000)) }],
    silent: [
      { ...info, ...one('process_open_fds', '', stays(700)), ...one('process_max_fds', '', stays(1000)) },
      {
        ...info,
        'process_open_fds{job="x",instance="i"}': stays(9),
        'process_max_fds{job="x",instance="i"}': stays(9),
      },
    ],
  },
  {
    alert: 'HopgateAvailabilityBudgetBurns',
    labels: 'burn="fast"',
    fires: [failing(20, MINUTES)],
    silent: [
      failing(10, MINUTES),
      // The hour was bad, the last five minutes are not.
      {
        'hopgate_requests_total{route="orders",method="GET",code="200",outcome="completed"}': grows(1000),
        'hopgate_failures_total{route="orders",upstream="up",outcome="reset",stage="connect",party="upstream"}':
          '0+50x45 2250x15',
      },
      { ...requests('200', 'completed', 700), ...failures('client_abort', 'response_headers', 'client', 300) },
    ],
    atMinutes: 60,
  },
  {
    alert: 'HopgateAvailabilityBudgetBurns',
    labels: 'burn="steady"',
    fires: [
      failing(8, HOURS_7),
      {
        ...requests('200', 'completed', 992, 'orders', HOURS_7),
        ...requests('503', 'completed', 8, 'orders', HOURS_7),
      },
    ],
    silent: [failing(4, HOURS_7)],
    stepMinutes: 5,
    atMinutes: HOURS_7 * 5,
  },
  {
    alert: 'HopgateAvailabilityBudgetBurns',
    labels: 'burn="slow"',
    fires: [failing(2, DAYS_4)],
    silent: [failing(0.5, DAYS_4)],
    stepMinutes: 30,
    atMinutes: DAYS_4 * 30,
  },
  {
    alert: 'HopgateLatencyBudgetBurns',
    labels: 'burn="fast",quantile="p99"',
    fires: [durations(0, 800, 1000, MINUTES)],
    silent: [durations(0, 900, 1000, MINUTES), durations(0, 1000, 1000, MINUTES)],
    atMinutes: 60,
  },
  {
    alert: 'HopgateLatencyBudgetBurns',
    labels: 'burn="steady",quantile="p99"',
    fires: [durations(0, 930, 1000, HOURS_7)],
    silent: [durations(0, 950, 1000, HOURS_7)],
    stepMinutes: 5,
    atMinutes: HOURS_7 * 5,
  },
  {
    alert: 'HopgateLatencyBudgetBurns',
    labels: 'burn="slow",quantile="p99"',
    fires: [durations(0, 980, 1000, DAYS_4)],
    silent: [durations(0, 995, 1000, DAYS_4)],
    stepMinutes: 30,
    atMinutes: DAYS_4 * 30,
  },
  {
    alert: 'HopgateLatencyBudgetBurns',
    labels: 'burn="fast",quantile="p50"',
    fires: [durations(50, 1000, 1000, MINUTES)],
    silent: [durations(200, 1000, 1000, MINUTES)],
    atMinutes: 60,
  },
  {
    alert: 'HopgateLatencyBudgetBurns',
    labels: 'burn="slow",quantile="p50"',
    fires: [durations(400, 1000, 1000, DAYS_4)],
    silent: [durations(600, 1000, 1000, DAYS_4)],
    stepMinutes: 30,
    atMinutes: DAYS_4 * 30,
  },
]
