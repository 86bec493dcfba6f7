/** An exchange for every outcome and every stage it can have: as records, which become lines as the gateway writes them. */
import type { ExchangeRecord, StageTimes } from '../../src/observe/record.ts'
import { OUTCOMES, type Outcome, STAGES, type Stage, type TimeoutName } from '../../src/outcome.ts'
import { record } from '../observe/fixtures.ts'

const OF_EXCHANGES: readonly Stage[] = STAGES.filter(stage => stage !== 'tunnel')
const FROM_BODY = OF_EXCHANGES.slice(OF_EXCHANGES.indexOf('request_body'))
const FROM_QUEUE = OF_EXCHANGES.slice(OF_EXCHANGES.indexOf('queue'))

/** As docs/OUTCOMES.md has them. */
const STAGES_OF: Readonly<Record<Outcome, readonly (Stage | undefined)[]>> = {
  completed: [undefined],
  client_abort: FROM_BODY,
  client_timeout: ['request_headers', 'request_body', 'client_write'],
  bad_request: ['request_headers', 'request_body'],
  body_too_large: ['request_body'],
  no_route: ['route'],
  loop_detected: ['route'],
  overloaded: ['route'],
  queue_full: ['queue'],
  queue_timeout: ['queue'],
  draining: ['route'],
  dns_error: ['dns'],
  connect_refused: ['connect'],
  connect_unreachable: ['connect'],
  connect_timeout: ['dns', 'connect', 'tls'],
  tls_error: ['tls'],
  stale_connection: ['request_write', 'response_headers'],
  reset: ['request_write', 'response_headers', 'response_body'],
  request_write_timeout: ['request_write'],
  response_headers_timeout: ['response_headers'],
  body_idle_timeout: ['response_body'],
  truncated: ['response_body'],
  protocol_error: ['response_headers', 'response_body'],
  deadline_exceeded: FROM_QUEUE,
  drain_killed: STAGES,
  resource_exhausted: ['queue', 'dns', 'connect', 'request_write'],
  internal_error: ['route', 'response_headers', 'response_body'],
  upgrade_failed: ['route', 'response_headers'],
  tunnel_closed: [undefined],
  tunnel_idle: ['tunnel'],
  tunnel_lifetime: ['tunnel'],
  tunnel_error: ['tunnel'],
}

const TIMEOUT_OF: { readonly [O in Outcome]?: TimeoutName } = {
  queue_timeout: 'queue',
  connect_timeout: 'connect',
  request_write_timeout: 'request_write',
  response_headers_timeout: 'response_headers',
  body_idle_timeout: 'body_idle',
  deadline_exceeded: 'request',
}

const ERRORS: { readonly [O in Outcome]?: readonly [code: string, message: string] } = {
  bad_request: ['HOPGATE_NOT_HTTP', 'not a chunk'],
  dns_error: ['ENOTFOUND', 'getaddrinfo ENOTFOUND orders.internal'],
  connect_refused: ['ECONNREFUSED', 'connect ECONNREFUSED 10.0.0.7:3001'],
  connect_unreachable: ['EHOSTUNREACH', 'connect EHOSTUNREACH 10.0.0.7:3001'],
  tls_error: ['CERT_HAS_EXPIRED', 'certificate has expired'],
  stale_connection: ['ECONNRESET', 'read ECONNRESET'],
  reset: ['ECONNRESET', 'read ECONNRESET'],
  truncated: ['HOPGATE_ENDED', 'the upstream ended the connection'],
  protocol_error: ['HOPGATE_NOT_HTTP', 'not a response of HTTP/1'],
  resource_exhausted: ['EMFILE', 'connect EMFILE 10.0.0.7:3001'],
  internal_error: ['TypeError', "Cannot read properties of undefined (reading 'x')"],
}

/** With the timeouts of the fixture's configuration. */
const TOTALS: { readonly [O in Outcome]?: number } = {
  completed: 240,
  client_abort: 1003.4,
  client_timeout: 10_001.3,
  queue_timeout: 1001.4,
  connect_timeout: 2013.6,
  request_write_timeout: 10_044.2,
  response_headers_timeout: 10_046.1,
  body_idle_timeout: 10_166.2,
  deadline_exceeded: 15_001.8,
  queue_full: 0.4,
}

/** What had been reached when an exchange ended in `stage`, ms. */
function timesAt(stage: Stage | undefined, total: number): StageTimes {
  const reached = (from: Stage): boolean => stage === undefined || STAGES.indexOf(stage) >= STAGES.indexOf(from)
  const spent = { queue: 12, connect: 31, requestWrite: 2, responseHeaders: 120 }
  const rest = (before: number): number => Math.max(0, total - before)
  const headers = reached('response_body')
  return {
    queue: reached('queue') ? (stage === 'queue' ? rest(0) : spent.queue) : -1,
    connect: reached('dns') ? (reached('request_write') ? spent.connect : rest(12)) : -1,
    requestWrite: reached('request_write') ? (stage === 'request_write' ? rest(43) : spent.requestWrite) : -1,
    responseHeaders: reached('response_headers') ? (headers ? spent.responseHeaders : rest(45)) : -1,
    responseBody: headers ? rest(165) : -1,
    total,
  }
}

function exchange(outcome: Outcome, stage: Stage | undefined, changes: Partial<ExchangeRecord> = {}): ExchangeRecord {
  const late = stage === 'response_body' || stage === 'client_write'
  const dialled = stage === undefined || STAGES.indexOf(stage) > STAGES.indexOf('queue')
  const known = stage === undefined || STAGES.indexOf(stage) >= STAGES.indexOf('request_body')
  const [code, message] = ERRORS[outcome] ?? []
  const total = TOTALS[outcome] ?? 2001.2
  return record({
    requestId: `${outcome}-${stage ?? 'none'}`,
    routeName: known || outcome === 'overloaded' || outcome === 'draining' ? 'orders' : '_none',
    upstreamName: known || outcome === 'loop_detected' ? 'orders' : '',
    endpointUrl: dialled ? 'http://10.0.0.7:3001' : '',
    method: outcome === 'stale_connection' ? 'POST' : 'GET',
    status: late ? 200 : outcome === 'completed' ? 200 : OUTCOMES[outcome].status,
    outcome,
    stage,
    party: OUTCOMES[outcome].party,
    rxBytes: stage === 'request_body' || stage === 'request_write' ? 12_800 : 0,
    txBytes: late || outcome === 'completed' ? 4711 : 135,
    times: timesAt(stage, total),
    clientAbortAge: outcome === 'client_abort' ? total : -1,
    timeout: TIMEOUT_OF[outcome],
    error: message === undefined ? undefined : Object.assign(new Error(message), { code }),
    ...changes,
  })
}

/** Every outcome in every stage it can have, and what has more than one sentence. */
export const EXCHANGES: readonly ExchangeRecord[] = Object.entries(STAGES_OF).flatMap(([name, stages]) => {
  const outcome = name as Outcome // Object.entries forgets the keys' type
  const of = (stage: Stage | undefined, id: string, changes: Partial<ExchangeRecord>) =>
    exchange(outcome, stage, { requestId: `${outcome}-${id}`, ...changes })
  const plain = stages.map(stage => exchange(outcome, stage))
  switch (outcome) {
    case 'completed':
      return [...plain, of(undefined, 'own-500', { status: 500 }), of(undefined, 'replayed', { attempts: 2 })]
    case 'client_abort':
      return [...plain, of('response_headers', 'finish', { times: timesAt('response_body', 5200) })]
    case 'client_timeout':
      return [
        ...plain,
        of('request_body', 'body_idle', { timeout: 'listen.timeouts.body_idle' }),
        of('request_body', 'min_body_rate', { timeout: 'listen.min_body_rate' }),
      ]
    case 'bad_request':
      return [
        ...plain,
        of('request_headers', 'tls', {
          error: Object.assign(new Error('TLS, where none is spoken'), { code: 'HOPGATE_TLS' }),
        }),
        of('request_headers', '431', { status: 431, error: undefined }),
        of('request_headers', '414', { status: 414, error: undefined }),
      ]
    case 'body_too_large':
      return [...plain, of('request_body', 'by-length', { rxBytes: 0 })]
    case 'no_route':
      return [...plain, of('route', '405', { status: 405 })]
    default:
      return plain
  }
})
