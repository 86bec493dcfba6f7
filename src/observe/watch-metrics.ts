/** What those who watch over the gateway have found; read at a scrape. */
import type { Registry } from 'prom-client'
import { STAGES, type Stage } from '../outcome.ts'
import { registerCounter } from './families.ts'

export interface WatchCounts {
  /** Exchanges that outlived their deadline by more than a second. */
  overdue(route: string, stage: Stage): number
}

/** Where an exchange can be when it is in flight. */
const UNDER_WAY = STAGES.filter(stage => stage !== 'request_headers' && stage !== 'route')

export function registerWatchMetrics(registry: Registry, watch: WatchCounts, routes: readonly string[]): void {
  const places = routes.flatMap(route => UNDER_WAY.map(stage => ({ route, stage })))
  registerCounter(registry, 'hopgate_overdue_requests_total', 'Must stay 0: outlived a deadline by 1 s.', emit => {
    for (const labels of places) emit(labels, watch.overdue(labels.route, labels.stage))
  })
}
