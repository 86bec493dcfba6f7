/** A case for every stage in which a client can leave, and for every failure of the contract's table that can be made. */
import type { Config } from '../config/config.ts'
import type { Stage } from '../outcome.ts'
import type { ProveCase, Subject, Unproven } from './case.ts'
import { crowdFor } from './crowd-size.ts'
import type { Leave, UpstreamFault } from './faults.ts'
import { expected, type ProvenOutcome } from './promised.ts'
import {
  ANSWERS,
  HANGS,
  LARGE_ANSWER,
  MORE_THAN_THE_KERNEL_KEEPS,
  NEVER_READS_UPLOAD,
  roomForBody,
} from './timeout-cases.ts'

const MIB = 1024 * 1024
const asks = { does: 'asks' } as const

/**
 * A client that leaves while its upload is not read is seen in the kernel's socket table only, which the gateway reads
 * every 500 ms, and twice for a RST; ms, with the reading.
 */
export const UNSEEN_MS = 1300

type Abort = Pick<ProveCase, 'upstream' | 'plan'> & Partial<ProveCase>

export function abortCases(subject: Subject): { cases: ProveCase[]; unproven: Unproven[] } {
  const { route, method } = subject
  const cases: ProveCase[] = []
  const unproven: Unproven[] = []
  const { value: onAbort, origin } = route.onClientAbort
  const add = (at: Stage, made: Abort): void => {
    cases.push({
      kind: 'abort',
      route: route.name,
      word: at,
      expect: [expected('client_abort', [at])],
      key: 'on_client_abort',
      origin,
      notes: [],
      ...(onAbort === 'finish' ? { variant: '(finish)' } : {}),
      ...made,
    })
  }
  const leaves = (at: Stage, by: Leave = 'fin') => ({ does: 'leaves', at, by }) as const
  const queue = subject.config.upstreams.find(({ name }) => name === route.upstream)?.pool.queue ?? 0
  add('request_body', { upstream: ANSWERS, plan: { ...leaves('request_body'), body: 1000 } })
  if (queue === 0) {
    unproven.push({
      route: route.name,
      word: 'client leaves in queue',
      why: 'pool.queue is 0: nobody waits',
      key: 'pool.queue',
      origin,
    })
  } else add('queue', { upstream: ANSWERS, plan: leaves('queue'), ...crowdFor(subject, 'slots', 1000) })
  add('connect', { upstream: { on: 'dial', then: 'black-hole' }, plan: leaves('connect', 'rst') })
  const stuck = { upstream: NEVER_READS_UPLOAD, ...roomForBody(subject) }
  const writeMs = route.timeouts.requestWrite.value
  const covering = expected('request_write_timeout', ['request_write'], { seen: 'left', status: 499 })
  add('request_write', {
    ...stuck,
    plan: { ...leaves('request_write', 'rst'), body: MORE_THAN_THE_KERNEL_KEEPS },
    ...(writeMs > UNSEEN_MS
      ? {}
      : {
          expect: [expected('client_abort', ['request_write']), covering, { ...covering, status: 504 }],
          covered: 'or request_write, if it fires before the client is missed',
        }),
  })
  add('response_headers', { upstream: HANGS, plan: leaves('response_headers') })
  if (method === 'HEAD') return { cases, unproven }
  const drips: UpstreamFault = {
    on: 'body',
    then: 'drip',
    afterBytes: 1000,
    pace: { bytesPerTick: 1, tickMs: Math.max(1, Math.floor(Math.min(40, route.timeouts.bodyIdle.value / 4))) },
    answer: { body: 1010 },
  }
  const stalls: UpstreamFault = { on: 'body', then: 'hang', afterBytes: 1000, answer: { body: MIB } }
  add('response_body', { upstream: onAbort === 'finish' ? drips : stalls, plan: leaves('response_body', 'rst') })
  add('client_write', { upstream: LARGE_ANSWER, plan: leaves('client_write', 'rst') })
  return { cases, unproven }
}

type Failure = Partial<ProveCase> & Pick<ProveCase, 'upstream'>

export function failureCases(subject: Subject): { cases: ProveCase[]; unproven: Unproven[] } {
  const { config, route, method, https } = subject
  const cases: ProveCase[] = []
  const add = (outcome: ProvenOutcome, stages: readonly (Stage | undefined)[], made: Failure): void => {
    cases.push({
      kind: 'failure',
      route: route.name,
      word: outcome,
      plan: asks,
      expect: [expected(outcome, stages)],
      key: `upstreams.${route.upstream}`,
      origin: `upstreams.${route.upstream}`,
      notes: [],
      ...made,
    })
  }
  const headers = { variant: 'before headers' }
  const body = { variant: 'in mid-body' }
  add('completed', [undefined], { upstream: ANSWERS, whole: true, key: 'match', origin: 'routes' })
  add('connect_refused', ['connect'], { upstream: { on: 'dial', then: 'refuse' } })
  if (https) {
    const { verify } = config.upstreams.find(({ name }) => name === route.upstream)?.tls ?? {}
    add('tls_error', ['tls'], { upstream: { on: 'tls', then: 'garbage' }, variant: 'garbage for a handshake' })
    add('connect_timeout', ['tls'], {
      upstream: { on: 'tls', then: 'hang' },
      key: 'timeouts.connect',
      origin: route.timeouts.connect.origin,
      variant: 'in the handshake',
      expect: [
        expected('connect_timeout', ['tls'], { timeout: 'connect', afterMs: route.timeouts.connect.value }),
        expected('deadline_exceeded', ['tls'], { timeout: 'request', afterMs: route.timeouts.request.value }),
      ],
    })
    if (verify !== false) {
      const upstream = { on: 'tls', then: 'certificate', which: 'unknown-ca' } as const
      add('tls_error', ['tls'], { upstream, variant: 'a certificate of nobody', key: 'tls.verify' })
    }
  }
  add('reset', ['response_headers'], { upstream: { on: 'headers', then: 'rst' }, ...headers })
  add('protocol_error', ['response_headers'], { upstream: { on: 'headers', then: 'garbage' }, ...headers })
  if (method !== 'HEAD') {
    const answer = { body: 64 * 1024 }
    add('reset', ['response_body'], { upstream: { on: 'body', then: 'rst', afterBytes: 1000, answer }, ...body })
    add('truncated', ['response_body'], { upstream: { on: 'body', then: 'fin', afterBytes: 1000, answer } })
    const chunked = { ...answer, framing: 'chunked', chunkBytes: 1000 } as const
    const garbage = { on: 'body', then: 'garbage', afterBytes: 1000, answer: chunked } as const
    add('protocol_error', ['response_body'], { upstream: garbage, ...body })
  }
  const reused = { upstream: 'resets-when-reused', key: 'pool.keepalive' } as const
  add('stale_connection', ['request_write', 'response_headers'], {
    ...reused,
    plan: { does: 'asks-again', body: true },
  })
  if (['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'].includes(method)) {
    add('completed', [undefined], {
      ...reused,
      word: 'stale_connection',
      variant: 'replayed',
      plan: { does: 'asks-again', body: false },
      expect: [expected('completed', [undefined], { attempts: 2 })],
    })
  }
  add('queue_full', ['queue'], { upstream: ANSWERS, ...crowdFor(subject, 'queue', 1000), key: 'pool.queue' })
  const { origin: inFlightOrigin } = route.limits.inFlight
  add('overloaded', ['route'], {
    upstream: ANSWERS,
    ...crowdFor(subject, 'in_flight', 1000),
    key: 'limits.in_flight',
    origin: inFlightOrigin,
  })
  const { value: limit, origin } = route.limits.bodyBytes
  add('body_too_large', ['request_body'], {
    upstream: ANSWERS,
    plan: { does: 'stops-uploading', body: limit + 1, sends: 1 },
    key: 'limits.body',
    origin,
  })
  return { cases, unproven: [] }
}

/** Those that belong to no route: what cannot be read, and what leads nowhere. */
export function listenerCases(config: Config): readonly ProveCase[] {
  const at = { kind: 'failure', route: '_none', upstream: ANSWERS, whole: true, origin: 'listen', notes: [] } as const
  const host = 'Host: hopgate-prove.invalid\r\n'
  const cases: ProveCase[] = [
    {
      ...at,
      word: 'bad_request',
      plan: { does: 'speaks', bytes: `this is not HTTP\r\n${host}\r\n` },
      expect: [expected('bad_request', ['request_headers'])],
      key: 'listen',
    },
    {
      ...at,
      word: 'bad_request',
      variant: 'header too large',
      plan: {
        does: 'speaks',
        bytes: `GET / HTTP/1.1\r\n${host}X-Large: ${'x'.repeat(config.listen.maxHeaderBytes)}\r\n\r\n`,
      },
      expect: [expected('bad_request', ['request_headers'], { status: 431 })],
      key: 'listen.max_header_size',
    },
  ]
  const nowhere = '/hopgate-prove-leads-nowhere'
  if (config.routes.every(({ match }) => match.host !== null || (match.path !== '/' && match.path !== nowhere))) {
    cases.push({
      ...at,
      word: 'no_route',
      plan: { does: 'speaks', bytes: `GET ${nowhere} HTTP/1.1\r\n${host}\r\n` },
      expect: [expected('no_route', ['route'])],
      key: 'routes',
      origin: 'routes',
    })
  }
  return cases
}
