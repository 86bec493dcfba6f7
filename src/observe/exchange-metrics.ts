/** Metrics that finished exchanges leave behind, read off the cells of the routes. */
import type { Registry } from 'prom-client'
import type { TimeoutName } from '../outcome.ts'
import type { HistogramCell } from './cells.ts'
import { registerCounter, registerGauge, registerHistogram } from './families.ts'
import { NO_ROUTE, type RouteMetrics, SELFPROBE_ROUTE } from './route-metrics.ts'

/** A timeout as it applies to a route: in ms, Infinity where it is `off`, null where it is a rate and no duration. */
export type ConfiguredTimeout = readonly [timeout: TimeoutName, valueMs: number | null]

export function registerExchangeMetrics(registry: Registry, routes: readonly RouteMetrics[]): void {
  registerCounter(registry, 'hopgate_requests_total', 'Exchanges that ended; code 499: none was sent.', emit => {
    for (const route of routes) for (const cell of route.requests.values()) emit(cell.labels, cell.count)
  })
  registerCounter(registry, 'hopgate_failures_total', 'Exchanges that did not complete, and who is at fault.', emit => {
    for (const route of routes) for (const cell of route.failures.values()) emit(cell.labels, cell.count)
  })
  registerHistogram(registry, 'hopgate_request_duration_seconds', 'Age of the exchange at its end.', emit => {
    for (const route of routes) route.durations.forEach(emit)
  })
  // Routes of our own have no upstream: what of it they could have measured is left out while it is empty.
  const used = ({ name }: RouteMetrics, cell: HistogramCell) =>
    (name !== NO_ROUTE && name !== SELFPROBE_ROUTE) || cell.count > 0
  registerHistogram(registry, 'hopgate_stage_duration_seconds', 'Time spent in a stage that was reached.', emit => {
    for (const route of routes) {
      const { queue, connect, requestWrite, responseHeaders, responseBody } = route
      for (const cell of [queue, connect, requestWrite, responseHeaders, responseBody]) {
        if (used(route, cell)) emit(cell)
      }
    }
  })
  registerHistogram(registry, 'hopgate_client_abort_age_seconds', 'Age of the exchange when its client left.', emit => {
    for (const route of routes) emit(route.clientAbortAge)
  })
  registerHistogram(
    registry,
    'hopgate_upstream_cancel_seconds',
    'From cause known to upstream socket closed.',
    emit => {
      for (const route of routes) if (used(route, route.upstreamCancel)) emit(route.upstreamCancel)
    },
  )

  const labelled = routes.map(route => ({
    route,
    labels: { route: route.name },
    into: { route: route.name, direction: 'in' },
    out: { route: route.name, direction: 'out' },
  }))
  registerCounter(registry, 'hopgate_aborted_writes_total', 'Writes that met a client who was gone.', emit => {
    for (const { route, labels } of labelled) emit(labels, route.abortedWrites)
  })
  registerCounter(registry, 'hopgate_aborted_write_bytes_total', 'Bytes that met a client who was gone.', emit => {
    for (const { route, labels } of labelled) emit(labels, route.abortedWriteBytes)
  })
  registerCounter(registry, 'hopgate_bytes_total', 'Body bytes from clients (in) and to them (out).', emit => {
    for (const { route, into, out } of labelled) {
      emit(into, route.bytesIn)
      emit(out, route.bytesOut)
    }
  })
}

/** Configured, fired, and how late: per route in the order in which the configuration lists them. */
export function registerTimeoutMetrics(
  registry: Registry,
  timeouts: ReadonlyMap<RouteMetrics, readonly ConfiguredTimeout[]>,
  overruns: ReadonlyMap<TimeoutName, HistogramCell>,
): void {
  const rows = [...timeouts].flatMap(([route, configured]) =>
    configured.map(([timeout, valueMs]) => ({ route, timeout, valueMs, labels: { route: route.name, timeout } })),
  )
  registerGauge(registry, 'hopgate_timeout_configured_seconds', 'The effective value; +Inf: off.', emit => {
    for (const { labels, valueMs } of rows) if (valueMs !== null) emit(labels, valueMs / 1000)
  })
  registerCounter(registry, 'hopgate_timeouts_total', 'How often the timeout ended an exchange.', emit => {
    for (const { labels, route, timeout } of rows) emit(labels, route.timeoutCount(timeout))
  })
  registerHistogram(registry, 'hopgate_timeout_overrun_seconds', 'Fired minus configured.', emit => {
    overruns.forEach(emit)
  })
}
