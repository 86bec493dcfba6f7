/** The relations among our own values. */
import type { Config } from '../config/config.ts'
import { formatDuration } from '../config/duration.ts'
import { type Found, perRoute, type RouteTimeoutKey, type Rule, timeoutOf, writtenAt } from './rule.ts'

/** A pause of garbage collection or of the scheduler is tens of ms: below this a timeout measures the machine. */
const LEAST_TIMEOUT_MS = 100

/** The first retransmission of a SYN (RFC 6298 section 2.1; Linux: TCP_TIMEOUT_INIT). */
const SYN_RETRY_MS = 1000

export const stagesWithinDeadline: Rule = {
  id: 'stages-within-deadline',
  severity: 'warning',
  check: config =>
    perRoute(config, (route, index) => {
      const { request, queue, connect, responseHeaders } = route.timeouts
      const stages = [queue, connect, responseHeaders].map(each => each.value).filter(Number.isFinite)
      const sum = stages.reduce((total, ms) => total + ms, 0)
      if (sum <= request.value) return null
      return {
        at: writtenAt(route, index, 'request'),
        message: `queue, connect and response_headers together are longer than the deadline, which then fires in their stead and blurs which it was (got ${stages.map(formatDuration).join(' + ')} = ${formatDuration(sum)}, wanted at most request ${formatDuration(request.value)})`,
      }
    }),
}

export const streamingHasBodyIdle: Rule = {
  id: 'streaming-has-body-idle',
  severity: 'error',
  check: config =>
    perRoute(config, (route, index) => {
      if (!route.streaming || Number.isFinite(route.timeouts.bodyIdle.value)) return null
      return {
        at: writtenAt(route, index, 'body_idle'),
        message:
          'a streaming route has no deadline, and this one nothing else either: a backend that hangs in mid-stream holds its connection for ever (got off, wanted a duration)',
      }
    }),
}

export const deadlineNotOff: Rule = {
  id: 'deadline-not-off',
  severity: 'error',
  check: config =>
    perRoute(config, (route, index) => {
      if (route.streaming || Number.isFinite(route.timeouts.request.value)) return null
      return {
        at: writtenAt(route, index, 'request'),
        message:
          'nothing bounds the whole: an answer of one byte every few seconds is within every other timeout, for ever (got off, wanted a duration, or streaming: true)',
      }
    }),
}

export const timeoutsAbove100ms: Rule = {
  id: 'timeouts-above-100ms',
  severity: 'warning',
  check: config => [...shortOfListen(config), ...shortOfRoutes(config)],
}

function short(ms: number): string {
  return `so short that a pause of the garbage collector, or a busy neighbour on the machine, makes it fire (got ${formatDuration(ms)}, wanted at least ${LEAST_TIMEOUT_MS}ms)`
}

function shortOfListen({ listen }: Config): readonly Found[] {
  const { headers, bodyIdle, writeIdle, keepalive } = listen.timeouts
  const named = { headers, body_idle: bodyIdle, write_idle: writeIdle, keepalive }
  return Object.entries(named)
    .filter(([, { value }]) => value < LEAST_TIMEOUT_MS)
    .map(([key, { value }]) => ({ at: ['listen', 'timeouts', key], message: short(value) }))
}

const KEYS: readonly RouteTimeoutKey[] = [
  'request',
  'queue',
  'connect',
  'request_write',
  'response_headers',
  'body_idle',
]

function shortOfRoutes(config: Config): readonly Found[] {
  return perRoute(config, (route, index) =>
    KEYS.flatMap(key => {
      const { value } = timeoutOf(route, key)
      return value >= LEAST_TIMEOUT_MS ? [] : [{ at: writtenAt(route, index, key), message: short(value) }]
    }),
  )
}

export const connectSurvivesLostSyn: Rule = {
  id: 'connect-survives-lost-syn',
  severity: 'warning',
  check: config =>
    perRoute(config, (route, index) => {
      const { value } = route.timeouts.connect
      // Below 100 ms another rule has spoken.
      if (value > SYN_RETRY_MS || value < LEAST_TIMEOUT_MS) return null
      return {
        at: writtenAt(route, index, 'connect'),
        message: `a lost SYN is sent again after ${formatDuration(SYN_RETRY_MS)}: until then one lost packet, or one full accept queue, is a 504 (got ${formatDuration(value)}, wanted more than ${formatDuration(SYN_RETRY_MS)})`,
      }
    }),
}

export const finishIsBounded: Rule = {
  id: 'finish-is-bounded',
  severity: 'warning',
  check: config =>
    perRoute(config, (route, index) => {
      const { value, origin } = route.onClientAbort
      if (value !== 'finish' || Number.isFinite(route.timeouts.request.value)) return null
      const level = origin.startsWith('upstreams.') ? ['upstreams', origin.slice('upstreams.'.length)] : ['defaults']
      return {
        at: [...(origin.startsWith('routes[') ? ['routes', index] : level), 'on_client_abort'],
        message:
          'work for a client that left goes on without any deadline, and holds a connection of the pool (got finish on a route whose request is off, wanted cancel, or a deadline)',
      }
    }),
}
