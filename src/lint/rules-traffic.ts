/** What traffic has shown, read from the metrics of a running hopgate (`--from URL`). */
import { formatDuration } from '../config/duration.ts'
import { type Found, perRoute, type Rule, writtenAt } from './rule.ts'
import type { Patience } from './traffic.ts'

/** Fewer clients than this say nothing. */
const LEAST_ABORTS = 20
/** A timeout of the callers' makes a peak; people who navigate away do not. */
const PEAK_SHARE = 0.4
/** Below this it is people and preconnecting browsers, not timeouts. */
const LEAST_PATIENCE_SECONDS = 0.25

const LEAST_IDLE_CLOSES = 10
/** Restarts of the upstream close some; an idle timeout of its own closes most. */
const IDLE_CLOSE_SHARE = 0.2

export const callersOutlastDeadline: Rule = {
  id: 'callers-outlast-deadline',
  severity: 'warning',
  check: (config, traffic) =>
    perRoute(config, (route, index) => {
      const deadlineMs = route.timeouts.request.value
      const patience = traffic?.patience.get(route.name)
      const peak = patience === undefined ? null : peakOf(patience)
      if (peak === null || !Number.isFinite(deadlineMs) || peak.aboveSeconds * 1000 >= deadlineMs) return null
      const until = Number.isFinite(peak.upToSeconds) ? `${peak.upToSeconds} s` : 'more'
      return {
        at: writtenAt(route, index, 'request'),
        message: `callers of ${route.name} leave before the deadline can answer them: ${peak.count} of ${peak.of} that left did so after ${peak.aboveSeconds} to ${until}, which looks like a timeout of theirs (got ${formatDuration(deadlineMs)}, wanted less than their ${until})`,
      }
    }),
}

interface Peak {
  readonly aboveSeconds: number
  readonly upToSeconds: number
  readonly count: number
  readonly of: number
}

/** The bucket that holds the most, if it is a peak. */
function peakOf({ buckets, count }: Patience): Peak | null {
  let peak: Peak | null = null
  let above = 0
  let below = 0
  for (const [upToSeconds, cumulative] of buckets) {
    const here = cumulative - below
    if (above >= LEAST_PATIENCE_SECONDS && here > (peak?.count ?? 0)) {
      peak = { aboveSeconds: above, upToSeconds, count: here, of: count }
    }
    above = upToSeconds
    below = cumulative
  }
  return peak === null || peak.count < LEAST_ABORTS || peak.count < count * PEAK_SHARE ? null : peak
}

export const poolKeepaliveBelowSeen: Rule = {
  id: 'pool-keepalive-below-seen',
  severity: 'warning',
  check: (config, traffic) =>
    config.upstreams.flatMap(({ name, pool }): readonly Found[] => {
      const seen = traffic?.connections.get(name)
      if (seen === undefined) return []
      const { idleCloses, opened, stale } = seen
      if (idleCloses + stale < LEAST_IDLE_CLOSES || idleCloses + stale < opened * IDLE_CLOSE_SHARE) return []
      return [
        {
          at: ['upstreams', name, 'pool', 'keepalive'],
          message: `the upstream closes idle connections earlier than we do: ${idleCloses} of ${opened} connections were closed by it while they were idle, and ${stale} requests met one that was (got ${formatDuration(pool.keepaliveMs)}, wanted less than its own keep-alive)`,
        },
      ]
    }),
}
