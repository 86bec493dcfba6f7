/** What those who watch over the gateway have found; read at a scrape. */
import type { Registry } from 'prom-client'
import { STAGES, type Stage } from '../outcome.ts'
import type { HistogramCell } from './cells.ts'
import { registerCounter, registerGauge, registerHistogram } from './families.ts'

export interface WatchCounts {
  /** Exchanges that outlived their deadline by more than a second. */
  overdue(route: string, stage: Stage): number
  /** undefined: it is off. */
  readonly probe: ProbeCounts | undefined
  /** undefined: there is none. */
  readonly watchdog: StallCounts | undefined
}

export interface StallCounts {
  readonly stalls: number
  readonly seconds: HistogramCell
  readonly up: boolean
}

export interface ProbeCounts {
  readonly results: Readonly<Record<ProbeResult, number>>
  readonly up: boolean
  readonly seconds: HistogramCell
}

const PROBE_RESULTS = ['ok', 'failed', 'refused_limit'] as const
type ProbeResult = (typeof PROBE_RESULTS)[number]

/** Where an exchange can be when it is in flight. */
const UNDER_WAY = STAGES.filter(stage => stage !== 'request_headers' && stage !== 'route')

export function registerWatchMetrics(registry: Registry, watch: WatchCounts, routes: readonly string[]): void {
  const places = routes.flatMap(route => UNDER_WAY.map(stage => ({ route, stage })))
  registerCounter(registry, 'hopgate_overdue_requests_total', 'Must stay 0: outlived a deadline by 1 s.', emit => {
    for (const labels of places) emit(labels, watch.overdue(labels.route, labels.stage))
  })
  registerCounter(
    registry,
    'hopgate_selfprobes_total',
    'Calls of the gateway to itself, by what became of them.',
    emit => {
      if (watch.probe === undefined) return
      for (const result of PROBE_RESULTS) emit({ result }, watch.probe.results[result])
    },
  )
  registerGauge(registry, 'hopgate_selfprobe_up', '0: the last probes failed, and /healthz says so.', emit => {
    if (watch.probe !== undefined) emit({}, watch.probe.up ? 1 : 0)
  })
  registerHistogram(registry, 'hopgate_selfprobe_duration_seconds', 'From the connect to the answer.', emit => {
    if (watch.probe !== undefined) emit(watch.probe.seconds)
  })
  registerCounter(registry, 'hopgate_event_loop_stalls_total', 'Times it stood still for watchdog.stall.', emit => {
    if (watch.watchdog !== undefined) emit({}, watch.watchdog.stalls)
  })
  registerHistogram(registry, 'hopgate_event_loop_stall_seconds', 'How long it stood still then.', emit => {
    if (watch.watchdog !== undefined) emit(watch.watchdog.seconds)
  })
  registerGauge(registry, 'hopgate_watchdog_up', '0: the thread that watches the event loop has ended.', emit => {
    if (watch.watchdog !== undefined) emit({}, watch.watchdog.up ? 1 : 0)
  })
  let since = performance.eventLoopUtilization()
  registerGauge(registry, 'hopgate_event_loop_utilization', 'Share of the time since the last scrape.', emit => {
    const now = performance.eventLoopUtilization()
    emit({}, performance.eventLoopUtilization(now, since).utilization)
    since = now
  })
}
