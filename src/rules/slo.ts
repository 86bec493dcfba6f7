/**
 * Alerts on what a route promises (`slo`), by how fast its error budget is spent: two windows each, a long one so that a
 * short peak wakes nobody, a short one so that the alert ends when the trouble does. Windows and factors are those of
 * the Site Reliability Workbook, chapter 5, table 5-8, for a period of 30 days.
 */
import type { RouteConfig } from '../config/config.ts'
import { formatDuration } from '../config/duration.ts'
import { DURATION_BUCKETS } from '../observe/cells.ts'
import { type Alert, promDuration, promString, type Severity } from './rule.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

interface Burn {
  readonly speed: 'fast' | 'steady' | 'slow'
  readonly longMs: number
  readonly shortMs: number
  /** So many times faster than would use up the budget in 30 days. */
  readonly factor: number
  readonly severity: Severity
}

const BURNS: readonly Burn[] = [
  { speed: 'fast', longMs: HOUR, shortMs: 5 * MINUTE, factor: 14.4, severity: 'page' },
  { speed: 'steady', longMs: 6 * HOUR, shortMs: 30 * MINUTE, factor: 6, severity: 'page' },
  { speed: 'slow', longMs: 3 * DAY, shortMs: 6 * HOUR, factor: 1, severity: 'ticket' },
]

export function sloAlerts({ name, slo }: RouteConfig, scale: number): readonly Alert[] {
  const latency = slo.latency.flatMap(({ percent, ms }) => latencyAlerts(name, percent, ms, scale))
  return slo.availability === null ? latency : [...availabilityAlerts(name, slo.availability, scale), ...latency]
}

function availabilityAlerts(name: string, availability: number, scale: number): readonly Alert[] {
  const route = promString(name)
  const budget = (100 - availability) / 100
  const bad = (window: string): string => `(
  (sum(rate(hopgate_failures_total{route=${route},party=~"upstream|gateway"}[${window}])) or vector(0))
  + (sum(rate(hopgate_requests_total{route=${route},outcome="completed",code=~"5.."}[${window}])) or vector(0))
) / sum(rate(hopgate_requests_total{route=${route}}[${window}]))`
  return BURNS.map(burn => ({
    alert: 'HopgateAvailabilityBudgetBurns',
    expr: bothWindows(bad, burn, budget, scale),
    forMs: 0,
    severity: burn.severity,
    labels: { route: name, burn: burn.speed },
    summary: `route ${name}: {{ $value | humanizePercentage }} of its requests failed by the upstream or the gateway in the last ${promDuration(burn.longMs * scale)}, and ${round(budget * 100)} % are promised at most: the budget of 30 days would last ${lasts(burn)}`,
    runbook: 'OUTCOMES.md',
  }))
}

function latencyAlerts(name: string, percent: number, ms: number, scale: number): readonly Alert[] {
  const route = promString(name)
  const budget = (100 - percent) / 100
  // A histogram can only be asked at its bounds: the next one above is what is watched.
  const bound = DURATION_BUCKETS.find(seconds => seconds * 1000 >= ms) ?? (DURATION_BUCKETS.at(-1) as number)
  const slow = (window: string): string => `1 - (
  sum(rate(hopgate_request_duration_seconds_bucket{route=${route},outcome="completed",le="${bound}"}[${window}]))
  / sum(rate(hopgate_request_duration_seconds_count{route=${route},outcome="completed"}[${window}]))
)`
  const watched = bound * 1000 === ms ? '' : ` (watched at the histogram's bound of ${formatDuration(bound * 1000)})`
  return BURNS.map(burn => ({
    alert: 'HopgateLatencyBudgetBurns',
    // More than all of them cannot be slow: p50 cannot burn 14.4 times as fast as it may.
    expr: bothWindows(slow, burn, Math.min(budget, 0.9 / burn.factor), scale),
    forMs: 0,
    severity: burn.severity,
    labels: { route: name, burn: burn.speed, quantile: `p${percent}` },
    summary: `route ${name}: {{ $value | humanizePercentage }} of its answers took more than ${formatDuration(ms)}${watched} in the last ${promDuration(burn.longMs * scale)}, and ${round(budget * 100)} % are promised at most (p${percent})`,
    runbook: 'OUTCOMES.md#completed',
  }))
}

function bothWindows(share: (window: string) => string, burn: Burn, budget: number, scale: number): string {
  const [long, short] = [promDuration(burn.longMs * scale), promDuration(burn.shortMs * scale)]
  const limit = round(burn.factor * budget)
  return `(${share(long)}) > ${limit}\nand\n(${share(short)}) > ${limit}`
}

const PERIOD_HOURS = 30 * 24

function lasts({ factor }: Burn): string {
  return factor === 1 ? 'not a day longer' : `${Math.round(PERIOD_HOURS / factor)} h`
}

/** 0.1 % of a budget is 0.0009999999999999432 in binary. */
function round(value: number): number {
  return Number(value.toPrecision(6))
}
