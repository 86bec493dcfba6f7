/** The panels of the dashboard, as data: what is asked of Prometheus, and how it is drawn. `generate.ts` makes the JSON. */

export type Unit = 'reqps' | 'short' | 's' | 'percentunit' | 'bytes' | 'Bps' | 'none' | 'ops'

export interface Query {
  /** PromQL; `$instance` and `$route` are the dashboard's, `$__rate_interval` is Grafana's. */
  readonly expr: string
  /** `{{label}}` is replaced. */
  readonly legend: string
}

export interface PanelSpec {
  readonly title: string
  /** What it tells, and where to look when it is odd. */
  readonly about: string
  readonly kind: 'timeseries' | 'heatmap' | 'stat'
  readonly unit: Unit
  /** Of 24. */
  readonly width: 4 | 6 | 8 | 12 | 24
  readonly stacked?: true
  /** From this value on it is red. */
  readonly redFrom?: number
  readonly queries: readonly Query[]
}

export interface RowSpec {
  readonly title: string
  readonly panels: readonly PanelSpec[]
}

const I = 'instance=~"$instance"'
const R = `${I},route=~"$route"`

const rate = (series: string): string => `rate(${series}[$__rate_interval])`

/** A percentile of a histogram, by what its series are summed up to. */
const percentile = (share: number, histogram: string, labels: string, by = ''): string =>
  `histogram_quantile(${share}, sum by (${by === '' ? '' : `${by}, `}le) (${rate(`${histogram}_bucket{${labels}}`)}))`

const requests = rate(`hopgate_requests_total{${R}}`)
const share = (selector: string): string =>
  `(sum(${rate(`hopgate_requests_total{${R},${selector}}`)}) or vector(0)) / sum(${requests})`

export const ROWS: readonly RowSpec[] = [
  {
    title: 'Overview',
    panels: [
      {
        title: 'Requests',
        about: 'Exchanges that ended, a second.',
        kind: 'stat',
        unit: 'reqps',
        width: 4,
        queries: [{ expr: `sum(${requests})`, legend: 'all' }],
      },
      {
        title: 'Clients left (499)',
        about: 'Share of the exchanges whose client did not wait. The callers’ own timeouts show under Clients.',
        kind: 'stat',
        unit: 'percentunit',
        width: 4,
        redFrom: 0.05,
        queries: [{ expr: share('code="499"'), legend: '499' }],
      },
      {
        title: 'Timeouts (504)',
        about: 'Share of the exchanges that were answered 504. Hops says which timeout.',
        kind: 'stat',
        unit: 'percentunit',
        width: 4,
        redFrom: 0.02,
        queries: [{ expr: share('code="504"'), legend: '504' }],
      },
      {
        title: 'Refused (503)',
        about: 'Share that the gateway did not take: a queue that is full, limits, a drain.',
        kind: 'stat',
        unit: 'percentunit',
        width: 4,
        redFrom: 0.01,
        queries: [{ expr: share('code="503"'), legend: '503' }],
      },
      {
        title: 'In flight',
        about: 'Exchanges that have begun and not ended.',
        kind: 'stat',
        unit: 'short',
        width: 4,
        queries: [{ expr: `sum(hopgate_inflight_requests{${R}})`, legend: 'in flight' }],
      },
      {
        title: 'Books off',
        about: 'hopgate_accounting_imbalance: anything but 0 is a leak. Please report it.',
        kind: 'stat',
        unit: 'short',
        width: 4,
        redFrom: 1,
        queries: [{ expr: `sum(abs(hopgate_accounting_imbalance{${I}}))`, legend: 'imbalance' }],
      },
      {
        title: 'Exchanges by status',
        about: 'The status that was sent; 499 where none was.',
        kind: 'timeseries',
        unit: 'reqps',
        width: 12,
        stacked: true,
        queries: [{ expr: `sum by (code) (${requests})`, legend: '{{code}}' }],
      },
      {
        title: 'Failures by outcome',
        about: 'Everything that is not `completed`: docs/OUTCOMES.md has a section for each.',
        kind: 'timeseries',
        unit: 'reqps',
        width: 12,
        stacked: true,
        queries: [{ expr: `sum by (outcome) (${rate(`hopgate_failures_total{${R}}`)})`, legend: '{{outcome}}' }],
      },
      {
        title: 'Duration of exchanges',
        about: 'All outcomes. A row of bright cells that does not move is a timeout: yours or a caller’s.',
        kind: 'heatmap',
        unit: 's',
        width: 24,
        queries: [
          {
            expr: `sum by (le) (increase(hopgate_request_duration_seconds_bucket{${R}}[$__rate_interval]))`,
            legend: '{{le}}',
          },
        ],
      },
    ],
  },
  {
    title: 'By route',
    panels: [
      {
        title: 'Requests by route',
        about: 'A second.',
        kind: 'timeseries',
        unit: 'reqps',
        width: 8,
        stacked: true,
        queries: [{ expr: `sum by (route) (${requests})`, legend: '{{route}}' }],
      },
      {
        title: 'Share that fails, by route and party',
        about: 'The party at fault is the client, the gateway or the upstream.',
        kind: 'timeseries',
        unit: 'percentunit',
        width: 8,
        queries: [
          {
            expr: `sum by (route, party) (${rate(`hopgate_failures_total{${R}}`)}) / on (route) group_left sum by (route) (${requests})`,
            legend: '{{route}}: {{party}}',
          },
        ],
      },
      {
        title: 'p99 of what completed, by route',
        about: 'Linear within the buckets of the histogram.',
        kind: 'timeseries',
        unit: 's',
        width: 8,
        queries: [
          {
            expr: percentile(0.99, 'hopgate_request_duration_seconds', `${R},outcome="completed"`, 'route'),
            legend: '{{route}}',
          },
        ],
      },
      {
        title: 'In flight, by route',
        about: 'Against limits.in_flight.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [{ expr: `sum by (route) (hopgate_inflight_requests{${R}})`, legend: '{{route}}' }],
      },
      {
        title: 'Oldest in flight, by route',
        about: 'Above the route’s deadline: a very long upload, a stream, or a leak.',
        kind: 'timeseries',
        unit: 's',
        width: 8,
        queries: [{ expr: `max by (route) (hopgate_oldest_inflight_seconds{${R}})`, legend: '{{route}}' }],
      },
      {
        title: 'Body bytes, by route',
        about: 'From clients (in) and to them (out), without heads and framing.',
        kind: 'timeseries',
        unit: 'Bps',
        width: 8,
        queries: [
          {
            expr: `sum by (route, direction) (${rate(`hopgate_bytes_total{${R}}`)})`,
            legend: '{{route}} {{direction}}',
          },
        ],
      },
    ],
  },
  {
    title: 'By upstream and endpoint',
    panels: [
      {
        title: 'Failures by upstream and outcome',
        about: 'Those whose party is the upstream.',
        kind: 'timeseries',
        unit: 'reqps',
        width: 8,
        stacked: true,
        queries: [
          {
            expr: `sum by (upstream, outcome) (${rate(`hopgate_failures_total{${R},party="upstream"}`)})`,
            legend: '{{upstream}}: {{outcome}}',
          },
        ],
      },
      {
        title: 'Connections by endpoint',
        about: 'Active ones against pool.max_connections.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (upstream, endpoint, state) (hopgate_pool_connections{${I}})`,
            legend: '{{upstream}} {{endpoint}} {{state}}',
          },
        ],
      },
      {
        title: 'Queue by upstream',
        about:
          'Exchanges that wait for a connection: above 0 for long, the pool is too small or the upstream too slow.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [{ expr: `sum by (upstream) (hopgate_queue_depth{${I}})`, legend: '{{upstream}}' }],
      },
      {
        title: 'Share of connections that were used before',
        about: 'Low: the upstream closes them, or pool.keepalive is short.',
        kind: 'timeseries',
        unit: 'percentunit',
        width: 12,
        queries: [
          {
            expr: `sum by (upstream) (${rate(`hopgate_connection_reuse_total{${I},reused="true"}`)}) / sum by (upstream) (${rate(`hopgate_connection_reuse_total{${I}}`)})`,
            legend: '{{upstream}}',
          },
        ],
      },
      {
        title: 'Idle connections closed by the upstream',
        about: 'Each is a chance for a stale_connection: pool.keepalive should be shorter than the upstream’s.',
        kind: 'timeseries',
        unit: 'ops',
        width: 12,
        queries: [
          {
            expr: `sum by (upstream) (${rate(`hopgate_upstream_idle_closes_total{${I}}`)})`,
            legend: '{{upstream}}',
          },
        ],
      },
    ],
  },
  {
    title: 'Hops: where the time goes, and which timeouts end it',
    panels: [
      {
        title: 'p99 of each stage',
        about: 'queue: the pool; connect: the network or the accept queue; response_headers: the upstream at work.',
        kind: 'timeseries',
        unit: 's',
        width: 12,
        queries: [{ expr: percentile(0.99, 'hopgate_stage_duration_seconds', R, 'stage'), legend: '{{stage}}' }],
      },
      {
        title: 'Mean of each stage',
        about: 'Stacked they are the mean exchange.',
        kind: 'timeseries',
        unit: 's',
        width: 12,
        stacked: true,
        queries: [
          {
            expr: `sum by (stage) (${rate(`hopgate_stage_duration_seconds_sum{${R}}`)}) / sum by (stage) (${rate(`hopgate_stage_duration_seconds_count{${R}}`)})`,
            legend: '{{stage}}',
          },
        ],
      },
      {
        title: 'Timeouts that fired',
        about: 'A second, by route and timeout.',
        kind: 'timeseries',
        unit: 'ops',
        width: 8,
        stacked: true,
        queries: [
          {
            expr: `sum by (route, timeout) (${rate(`hopgate_timeouts_total{${R}}`)})`,
            legend: '{{route}}: {{timeout}}',
          },
        ],
      },
      {
        title: 'How late they fired (p99)',
        about: 'Promised: max(50 ms, 2 %). More: the process does not get its CPU, or its event loop is busy.',
        kind: 'timeseries',
        unit: 's',
        width: 8,
        redFrom: 0.2,
        queries: [{ expr: percentile(0.99, 'hopgate_timeout_overrun_seconds', I, 'timeout'), legend: '{{timeout}}' }],
      },
      {
        title: 'From cause to closed upstream socket (p99)',
        about: 'Promised: 20 ms after a client left, or a timeout fired.',
        kind: 'timeseries',
        unit: 's',
        width: 8,
        redFrom: 0.02,
        queries: [{ expr: percentile(0.99, 'hopgate_upstream_cancel_seconds', R, 'route'), legend: '{{route}}' }],
      },
    ],
  },
  {
    title: 'Clients',
    panels: [
      {
        title: 'Age of the exchange when its client left',
        about: 'A bright row that does not move is a caller’s own timeout.',
        kind: 'heatmap',
        unit: 's',
        width: 12,
        queries: [
          {
            expr: `sum by (le) (increase(hopgate_client_abort_age_seconds_bucket{${R}}[$__rate_interval]))`,
            legend: '{{le}}',
          },
        ],
      },
      {
        title: 'Aborted writes',
        about: 'Bytes that met a client who was gone.',
        kind: 'timeseries',
        unit: 'Bps',
        width: 6,
        queries: [{ expr: `sum by (route) (${rate(`hopgate_aborted_write_bytes_total{${R}}`)})`, legend: '{{route}}' }],
      },
      {
        title: 'Connections from clients',
        about: 'Open now.',
        kind: 'timeseries',
        unit: 'short',
        width: 6,
        queries: [{ expr: `sum by (instance) (hopgate_client_connections{${I}})`, legend: '{{instance}}' }],
      },
      {
        title: 'What became of connections',
        about:
          'refused_limit: listen.max_connections; header_timeout and parse_error: who connected and sent no request.',
        kind: 'timeseries',
        unit: 'ops',
        width: 24,
        queries: [
          { expr: `sum by (result) (${rate(`hopgate_client_connections_total{${I}}`)})`, legend: '{{result}}' },
        ],
      },
    ],
  },
  {
    title: 'WebSocket',
    panels: [
      {
        title: 'WebSockets open',
        about: 'By route and mode. No data: no route has `websocket`.',
        kind: 'timeseries',
        unit: 'short',
        width: 6,
        queries: [{ expr: `sum by (route, mode) (hopgate_websocket_connections{${R}})`, legend: '{{route}} {{mode}}' }],
      },
      {
        title: 'How they ended',
        about: 'By whom, and with which close code (RFC 6455 section 7.4.1).',
        kind: 'timeseries',
        unit: 'ops',
        width: 6,
        stacked: true,
        queries: [
          { expr: `sum by (by, code) (${rate(`hopgate_websocket_closed_total{${R}}`)})`, legend: '{{by}} {{code}}' },
        ],
      },
      {
        title: 'Bytes through WebSockets',
        about: 'From clients (in) and to them (out), while they move.',
        kind: 'timeseries',
        unit: 'Bps',
        width: 6,
        queries: [
          {
            expr: `sum by (route, direction) (${rate(`hopgate_websocket_bytes_total{${R}}`)})`,
            legend: '{{route}} {{direction}}',
          },
        ],
      },
      {
        title: 'Backends reached again',
        about: 'Attempts of relays to reach a lost backend; given_up: their clients were closed.',
        kind: 'timeseries',
        unit: 'ops',
        width: 6,
        queries: [
          {
            expr: `sum by (route, result) (${rate(`hopgate_websocket_reconnects_total{${R}}`)})`,
            legend: '{{route}} {{result}}',
          },
        ],
      },
    ],
  },
  {
    title: 'Resources',
    panels: [
      {
        title: 'Event loop: delay (p99) and share of time busy',
        about: 'Everything is late by the delay.',
        kind: 'timeseries',
        unit: 's',
        width: 8,
        redFrom: 0.1,
        queries: [
          {
            expr: `nodejs_eventloop_lag_p99_seconds{${I}} and on (job, instance) hopgate_config_info`,
            legend: '{{instance}} p99',
          },
        ],
      },
      {
        title: 'Event loop: busy',
        about: '1: always. Above 0.8 latency grows.',
        kind: 'timeseries',
        unit: 'percentunit',
        width: 8,
        redFrom: 0.8,
        queries: [{ expr: `hopgate_event_loop_utilization{${I}}`, legend: '{{instance}}' }],
      },
      {
        title: 'Event loop: stood still',
        about: 'Times a minute that it did for watchdog.stall. The stack is on stderr.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [{ expr: `60 * ${rate(`hopgate_event_loop_stalls_total{${I}}`)}`, legend: '{{instance}}' }],
      },
      {
        title: 'File descriptors',
        about: 'Share of those allowed. At 1 nothing is accepted and nothing dialled.',
        kind: 'timeseries',
        unit: 'percentunit',
        width: 8,
        redFrom: 0.8,
        queries: [{ expr: `hopgate_fds_open{${I}} / hopgate_fds_max{${I}}`, legend: '{{instance}}' }],
      },
      {
        title: 'Sockets by state',
        about: 'close_wait that stays: the peer has left, and we have not closed.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [{ expr: `sum by (side, state) (hopgate_sockets{${I}})`, legend: '{{side}} {{state}}' }],
      },
      {
        title: 'Ephemeral ports',
        about: 'Share of those there are, towards the busiest endpoint. At 1 the next dial is resource_exhausted.',
        kind: 'timeseries',
        unit: 'percentunit',
        width: 8,
        redFrom: 0.8,
        queries: [
          {
            expr: `hopgate_ephemeral_ports_used{${I}} / on (job, instance) group_left hopgate_ephemeral_ports{${I}}`,
            legend: '{{instance}} {{upstream}}',
          },
        ],
      },
      {
        title: 'Accept queue',
        about: 'Share of the effective backlog. Overflows: those clients wait 1 s and longer.',
        kind: 'timeseries',
        unit: 'percentunit',
        width: 8,
        redFrom: 0.8,
        queries: [
          { expr: `hopgate_accept_queue_depth{${I}} / hopgate_accept_queue_limit{${I}}`, legend: '{{instance}} depth' },
        ],
      },
      {
        title: 'Accept queue: overflows',
        about: 'Of the whole network namespace, a second.',
        kind: 'timeseries',
        unit: 'ops',
        width: 8,
        queries: [{ expr: rate(`hopgate_listen_overflows_total{${I}}`), legend: '{{instance}}' }],
      },
      {
        title: 'Memory',
        about: 'Resident.',
        kind: 'timeseries',
        unit: 'bytes',
        width: 8,
        queries: [
          {
            expr: `process_resident_memory_bytes{${I}} and on (job, instance) hopgate_config_info`,
            legend: '{{instance}}',
          },
        ],
      },
      {
        title: 'Log: lines written and dropped',
        about: 'Dropped: whoever reads the log is too slow.',
        kind: 'timeseries',
        unit: 'ops',
        width: 8,
        queries: [
          { expr: `sum by (class) (${rate(`hopgate_log_lines_total{${I}}`)})`, legend: '{{class}} written' },
          { expr: `sum by (class) (${rate(`hopgate_log_dropped_total{${I}}`)})`, legend: '{{class}} dropped' },
        ],
      },
      {
        title: 'Well: log, self-probe, watchdog',
        about: '1: yes. 0: docs/OUTCOMES.md, when the numbers themselves look wrong.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          { expr: `hopgate_log_sink_up{${I}}`, legend: '{{instance}} log' },
          { expr: `hopgate_selfprobe_up{${I}}`, legend: '{{instance}} self-probe' },
          { expr: `hopgate_watchdog_up{${I}}`, legend: '{{instance}} watchdog' },
        ],
      },
      {
        title: 'Exchanges that outlived a deadline',
        about: 'Must stay 0, always.',
        kind: 'timeseries',
        unit: 'short',
        width: 8,
        redFrom: 1,
        queries: [{ expr: `sum by (route) (hopgate_overdue_requests_total{${R}})`, legend: '{{route}}' }],
      },
    ],
  },
]
