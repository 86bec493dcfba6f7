/** A case for every (route x effective timeout): what makes it fire, and what it must be called. */
import { type EffectiveTimeout, effectiveTimeouts } from '../config/effective.ts'
import type { Stage, TimeoutName } from '../outcome.ts'
import type { ProveCase, Subject, Unproven } from './case.ts'
import { crowdFor } from './crowd-size.ts'
import { deadline, type Expected, expected } from './promised.ts'
import { websocketCase } from './websocket-cases.ts'

const MIB = 1024 * 1024
/** More than the kernel keeps for a peer that does not read (6 MiB to receive, 4 MiB to send, by Linux's defaults). */
export const MORE_THAN_THE_KERNEL_KEEPS = 24 * MIB

export const HANGS = { on: 'headers', then: 'hang' } as const
export const ANSWERS = { on: 'request', then: 'answer' } as const
export const NEVER_READS_UPLOAD = { on: 'request', then: 'stop-reading' } as const
export const LARGE_ANSWER = { on: 'request', then: 'answer', answer: { body: MORE_THAN_THE_KERNEL_KEEPS } } as const
const BODY_STALLS = { on: 'body', then: 'hang', afterBytes: 1000, answer: { body: MIB } } as const
const BLACK_HOLE = { on: 'dial', then: 'black-hole' } as const

/** Where a stage's timeout and the deadline are this near, ms, either may come first. */
const CLOSE_MS = 60
/** The client's socket takes this long to fill, ms at most. */
const FILLING_MS = 400

type Made = Partial<ProveCase> & Pick<ProveCase, 'upstream' | 'plan' | 'expect'>

export function timeoutCases(subject: Subject): { cases: ProveCase[]; unproven: Unproven[] } {
  const { config, route } = subject
  const cases: ProveCase[] = []
  const unproven: Unproven[] = []
  const add = (name: TimeoutName, ms: number, origin: string, made: Made | string): void => {
    const key = keyOf(name)
    const listed = { route: route.name, word: name, key, origin }
    if (ms === Number.POSITIVE_INFINITY) unproven.push({ ...listed, why: 'off' })
    else if (typeof made === 'string') unproven.push({ ...listed, why: made })
    else cases.push({ kind: 'timeout', configuredMs: ms, notes: [], ...listed, ...made })
  }
  for (const timeout of effectiveTimeouts(route, config.listen)) {
    add(timeout.name, timeout.ms, timeout.origin, make(subject, timeout))
  }
  const rate = config.listen.minBodyRate
  add('listen.min_body_rate', rate?.graceMs ?? Number.POSITIVE_INFINITY, 'listen', minBodyRate(subject))
  return { cases, unproven }
}

export function keyOf(name: TimeoutName): string {
  return name.startsWith('listen.') || name.startsWith('websocket.') ? name : `timeouts.${name}`
}

function make(subject: Subject, { name, ms }: EffectiveTimeout): Made | string {
  const { route, method } = subject
  const asks = { does: 'asks' } as const
  const own = (outcome: Parameters<typeof expected>[0], stage: Stage, more: Partial<Expected> = {}): Expected =>
    expected(outcome, [stage], { timeout: name, afterMs: ms, ...more })
  switch (name) {
    case 'listen.timeouts.headers':
      return {
        upstream: ANSWERS,
        plan: { does: 'half-a-head' },
        expect: [own('client_timeout', 'request_headers')],
      }
    case 'listen.timeouts.body_idle':
      return bodyIdleOfClient(subject, own('client_timeout', 'request_body'))
    case 'listen.timeouts.write_idle':
      if (method === 'HEAD') return 'HEAD alone: there is no body to wait with'
      return {
        upstream: LARGE_ANSWER,
        plan: { does: 'never-reads' },
        ...orDeadline(subject, own('client_timeout', 'client_write'), FILLING_MS),
      }
    case 'listen.timeouts.keepalive':
      return {
        upstream: ANSWERS,
        plan: { does: 'idles' },
        expect: [expected('completed', [undefined], { seen: 'closed', timeout: name, afterMs: ms })],
      }
    case 'queue': {
      const { pool } = subject.config.upstreams.find(({ name: own }) => own === route.upstream) ?? {}
      if (pool?.queue === 0) return 'pool.queue is 0: nobody waits'
      return {
        upstream: ANSWERS,
        plan: asks,
        ...crowdFor(subject, 'slots', ms),
        ...orDeadline(subject, own('queue_timeout', 'queue')),
      }
    }
    case 'connect':
      return { upstream: BLACK_HOLE, plan: asks, ...orDeadline(subject, own('connect_timeout', 'connect')) }
    case 'request_write':
      return {
        upstream: NEVER_READS_UPLOAD,
        plan: { does: 'uploads', body: MORE_THAN_THE_KERNEL_KEEPS },
        // The deadline does not run before the last byte of the body was received, which here it never is.
        expect: [own('request_write_timeout', 'request_write')],
        ...roomForBody(subject),
      }
    case 'response_headers':
      return { upstream: HANGS, plan: asks, ...orDeadline(subject, own('response_headers_timeout', name)) }
    case 'body_idle':
      if (method === 'HEAD') return 'HEAD alone: there is no body to wait for'
      return { upstream: BODY_STALLS, plan: asks, ...orDeadline(subject, own('body_idle_timeout', 'response_body')) }
    case 'request':
      return request(subject, ms)
    case 'websocket.idle_timeout':
    case 'websocket.max_lifetime':
    case 'websocket.ping_interval':
      return websocketCase(subject, name, ms)
  }
}

/** The deadline fires instead where it is not longer than the stage's own timeout; `laterMs`: by how much it has a start. */
function orDeadline(
  { route }: Subject,
  own: Expected,
  laterMs = CLOSE_MS,
): Pick<ProveCase, 'expect'> & { covered?: string } {
  const requestMs = route.timeouts.request.value
  const ownMs = own.afterMs ?? 0
  const whole = deadline(own.stages[0] ?? 'route', requestMs)
  if (ownMs >= requestMs) return { expect: [whole], covered: 'covered by request' }
  return { expect: ownMs + laterMs < requestMs ? [own] : [own, whole] }
}

/** The gateway reads on only as far as `limits.body` lets it, and the kernel swallows 10 MiB. */
export function roomForBody({ route }: Subject): Pick<ProveCase, 'adjust' | 'notes'> | undefined {
  if (route.limits.bodyBytes.value > MORE_THAN_THE_KERNEL_KEEPS) return undefined
  return {
    adjust: { bodyBytes: 2 * MORE_THAN_THE_KERNEL_KEEPS },
    notes: ['limits.body raised: a body within it can fit into the kernel’s buffers, and then never waits'],
  }
}

/** So many bytes that `min_body_rate` has nothing to say until `body_idle` has fired. */
function bodyIdleOfClient({ config, route }: Subject, own: Expected): Made {
  const { minBodyRate } = config.listen
  const idleMs = own.afterMs ?? 0
  const needed =
    minBodyRate === null || minBodyRate.graceMs > idleMs + 200
      ? 1000
      : Math.ceil((minBodyRate.bytesPerSecond * (idleMs + 500)) / 1000)
  const limit = route.limits.bodyBytes.value
  const upstream = ANSWERS
  if (needed < limit) {
    return { upstream, plan: { does: 'stops-uploading', body: limit, sends: needed }, expect: [own] }
  }
  return {
    upstream,
    plan: { does: 'stops-uploading', body: 2 * needed, sends: needed },
    expect: [own],
    adjust: { bodyBytes: 2 * needed },
    notes: ['limits.body raised: a body within it ends, or is too slow, before it can idle'],
  }
}

function minBodyRate({ config, route }: Subject): Made {
  const { minBodyRate: rate, timeouts } = config.listen
  const upstream = ANSWERS
  const idleMs = timeouts.bodyIdle.value
  const bytesPerSecond = rate?.bytesPerSecond ?? 1
  const graceMs = rate?.graceMs ?? 0
  const body = route.limits.bodyBytes.value
  const own = expected('client_timeout', ['request_body'], { timeout: 'listen.min_body_rate', afterMs: graceMs })
  // Half as fast as it must be, and never idle.
  const tickMs = Math.min(250, Math.ceil(idleMs / 3), Math.ceil(graceMs / 4))
  const bytesPerTick = Math.floor((bytesPerSecond * tickMs) / 2000)
  if (bytesPerTick >= 1) {
    return {
      upstream,
      plan: { does: 'stops-uploading', body, sends: 1, pace: { bytesPerTick, tickMs } },
      expect: [own],
    }
  }
  const slowTickMs = Math.ceil(2000 / bytesPerSecond)
  if (slowTickMs < idleMs * 0.8 || graceMs < idleMs - CLOSE_MS) {
    const pace = { bytesPerTick: 1, tickMs: slowTickMs }
    return { upstream, plan: { does: 'stops-uploading', body, sends: 1, pace }, expect: [own] }
  }
  return {
    upstream,
    plan: { does: 'stops-uploading', body, sends: 1 },
    covered: 'covered by listen.timeouts.body_idle',
    expect: [
      expected('client_timeout', ['request_body'], { timeout: 'listen.timeouts.body_idle', afterMs: idleMs }),
      own,
    ],
  }
}

/** Measured from the last byte of a body, while the response drips too fast for any other timeout. */
function request({ config, route, method }: Subject, ms: number): Made {
  const { bodyIdle, headers } = config.listen.timeouts
  const grace = config.listen.minBodyRate?.graceMs ?? Number.POSITIVE_INFINITY
  const afterMs = Math.floor(Math.min(100, bodyIdle.value / 3, headers.value / 3, grace / 3))
  const plan = { does: 'ends-late', afterMs } as const
  if (method === 'HEAD') return { upstream: HANGS, plan: { does: 'asks' }, expect: [deadline('response_headers', ms)] }
  const tickMs = Math.max(1, Math.floor(Math.min(100, route.timeouts.bodyIdle.value / 4)))
  return {
    upstream: { on: 'body', then: 'drip', pace: { bytesPerTick: 1, tickMs }, answer: { body: MIB } },
    plan,
    expect: [deadline('response_body', ms)],
  }
}
