/** The relations to those who call us and who end us: the front proxy, and the orchestrator. */
import { formatDuration } from '../config/duration.ts'
import { perRoute, type Rule, writtenAt } from './rule.ts'

/** A timeout fires up to max(50 ms, 2 %) late (the promise), and its 504 needs a moment on the wire. */
function answerMarginMs(deadlineMs: number): number {
  return Math.max(50, deadlineMs * 0.02) + 200
}

/** The front decides to reuse a connection while our FIN is on its way to it. */
const CLOSE_MARGIN_MS = 1000

/** After the last exchange: the log is flushed and the process exits. */
const EXIT_MARGIN_MS = 1000

export const deadlineBelowFront: Rule = {
  id: 'deadline-below-front',
  severity: 'error',
  check: config => {
    const front = config.neighbours.front.responseTimeoutMs
    if (front === null) return []
    return perRoute(config, (route, index) => {
      const { value } = route.timeouts.request
      const margin = answerMarginMs(value)
      if (!Number.isFinite(value) || value + margin <= front) return null
      const got = `got ${formatDuration(value)}, neighbours.front.response_timeout ${formatDuration(front)}`
      const at = writtenAt(route, index, 'request')
      return value >= front
        ? {
            at,
            message: `the front gives up before our deadline: every slow call becomes its 504 and our 499, and nobody learns which stage was slow (${got})`,
          }
        : {
            at,
            severity: 'warning',
            message: `the deadline is so close to the front's timeout that our 504 may come too late (${got}, wanted ${Math.ceil(margin)}ms between them)`,
          }
    })
  },
}

export const streamIdleBelowFront: Rule = {
  id: 'stream-idle-below-front',
  severity: 'warning',
  check: config => {
    const front = config.neighbours.front.responseTimeoutMs
    if (front === null) return []
    return perRoute(config, (route, index) => {
      const { value } = route.timeouts.bodyIdle
      if (!route.streaming || value < front) return null
      return {
        at: writtenAt(route, index, 'body_idle'),
        message: `a stream that is silent is cut by the front first, and looks like a client that left (got ${formatDuration(value)}, wanted less than neighbours.front.response_timeout ${formatDuration(front)})`,
      }
    })
  },
}

export const clientKeepaliveAboveFront: Rule = {
  id: 'client-keepalive-above-front',
  severity: 'error',
  check: ({ neighbours, listen }) => {
    const front = neighbours.front.keepaliveIdleMs
    const { value } = listen.timeouts.keepalive
    if (front === null || value >= front + CLOSE_MARGIN_MS) return []
    const got = `got ${formatDuration(value)}, neighbours.front.keepalive_idle ${formatDuration(front)}`
    const at = ['listen', 'timeouts', 'keepalive']
    return value <= front
      ? [
          {
            at,
            message: `we close idle connections that the front still means to use: its next request on one meets a closed socket and becomes its 502 (${got}, wanted more than the front's)`,
          },
        ]
      : [
          {
            at,
            severity: 'warning',
            message: `our close of an idle connection may cross the front's next request on it (${got}, wanted ${formatDuration(CLOSE_MARGIN_MS)} more than the front's)`,
          },
        ]
  },
}

export const frontIsStated: Rule = {
  id: 'front-is-stated',
  severity: 'warning',
  check: ({ neighbours, listen }) => {
    const { responseTimeoutMs, keepaliveIdleMs } = neighbours.front
    if (listen.trustedProxies.length === 0 || (responseTimeoutMs !== null && keepaliveIdleMs !== null)) return []
    const missing = [
      ...(responseTimeoutMs === null ? ['response_timeout'] : []),
      ...(keepaliveIdleMs === null ? ['keepalive_idle'] : []),
    ]
    return [
      {
        at: ['neighbours', 'front'],
        message: `a proxy in front of us is trusted, but its timeouts are not stated, so nothing can be compared with them (got no ${missing.join(' and no ')}, wanted both)`,
      },
    ]
  },
}

export const drainInsideGrace: Rule = {
  id: 'drain-inside-grace',
  severity: 'error',
  check: ({ neighbours, drain }) => {
    const grace = neighbours.kubernetes.terminationGracePeriodMs
    const sum = drain.delayMs + drain.deadlineMs
    if (grace === null || sum + EXIT_MARGIN_MS <= grace) return []
    const got = `got delay ${formatDuration(drain.delayMs)} + deadline ${formatDuration(drain.deadlineMs)} = ${formatDuration(sum)}, neighbours.kubernetes.termination_grace_period ${formatDuration(grace)}`
    const at = ['drain', 'deadline']
    return sum >= grace
      ? [
          {
            at,
            message: `the drain is not over when SIGKILL comes: exchanges are cut without a word, and the end of the log is lost (${got})`,
          },
        ]
      : [
          {
            at,
            severity: 'warning',
            message: `the drain ends so late that SIGKILL may take the end of the log (${got}, wanted ${formatDuration(EXIT_MARGIN_MS)} between them)`,
          },
        ]
  },
}

export const drainCoversDeadline: Rule = {
  id: 'drain-covers-deadline',
  severity: 'warning',
  check: config =>
    perRoute(config, (route, index) => {
      const { value } = route.timeouts.request
      const { deadlineMs } = config.drain
      if (!Number.isFinite(value) || value <= deadlineMs) return null
      return {
        at: writtenAt(route, index, 'request'),
        message: `an exchange that is within its deadline can outlive the drain, which then cuts it (got ${formatDuration(value)}, wanted at most drain.deadline ${formatDuration(deadlineMs)})`,
      }
    }),
}
