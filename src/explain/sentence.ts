/**
 * What happened to an exchange, in words for somebody who was just woken. Pure: a log, a live page and a test give it
 * the same facts and get the same sentence.
 */
import { TLS_SPOKEN } from '../http1/request-head.ts'
import { OUTCOMES, type Outcome, type Stage, type TimeoutName } from '../outcome.ts'
import type { Facts } from './facts.ts'
import type { Limits } from './limits.ts'
import { WEBSOCKETS } from './websockets.ts'
import { because, spell, spellBytes, whom } from './words.ts'

type Teller = (facts: Facts, limits: Limits | null) => string

/** One to three sentences on one line. @param limits null: the configuration is not at hand, and no limit is named */
export function sentence(facts: Facts, limits: Limits | null): string {
  return begun(TELLERS[facts.outcome](facts, limits)) + cutNote(facts)
}

const TELLERS: Readonly<Record<Outcome, Teller>> = {
  completed: facts => {
    const { status, times, attempts, txBytes } = facts
    const after = headersAfter(facts)
    const again = attempts > 1 ? ' The first connection was stale, and the request was sent once more.' : ''
    const verdict = status >= 500 ? ` That ${status} is the upstream's own.` : ''
    return `${whom(facts)} answered ${status}${after}, and all of it (${spellBytes(txBytes)}) was handed to the client${within(times.total)}.${verdict}${again}`
  },

  client_abort: (facts, limits) => {
    const { clientAbortAge: age, times } = facts
    const left = age >= 0 ? `The client left ${spell(age)} after its request.` : 'The client left.'
    const longer =
      age >= 0 && times.total > age + 50
        ? ` The upstream's work was let run to its end, ${spell(times.total)} after the request.`
        : ''
    return `${left} ${begun(standing(facts))}${limitClause(facts, limits)}.${longer}`
  },

  client_timeout: (facts, limits) => {
    const { stage, rxBytes, txBytes, times, timeout } = facts
    if (stage === 'client_write') {
      return `The client did not read its answer: it took no byte${forTime('listen.timeouts.write_idle', limits)}, after ${spellBytes(txBytes)}.`
    }
    if (stage === 'request_body') {
      if (timeout === 'listen.min_body_rate') {
        const rate = limits?.minBodyRate ?? null
        return `The client's upload was too slow: ${spellBytes(rxBytes)}${during(times.total)}; listen.min_body_rate asks for ${rate === null ? 'more' : `${spellBytes(rate)} a second`}.`
      }
      const which = timeout === undefined ? 'stalled, or crawled' : 'stalled'
      const limit = timeout === undefined ? '' : `: no byte${forTime('listen.timeouts.body_idle', limits)}`
      return `The client's upload ${which}${limit}, after ${spellBytes(rxBytes)}${during(times.total)}.`
    }
    return `A client connected and did not send a whole request head${forTime('listen.timeouts.headers', limits)}.`
  },

  bad_request: facts => {
    const { status, stage } = facts
    if (stage === 'request_body')
      return `The client's upload broke the rules of chunked framing after ${spellBytes(facts.rxBytes)}${because(facts)}.`
    if (status === 431) return `The client's headers are larger than listen.max_header_size${because(facts)}.`
    if (status === 414) return `The client's request target is longer than listen.max_header_size${because(facts)}.`
    const tls = facts.error?.code === TLS_SPOKEN ? ' The port is a plain one: TLS ends at what is put in front.' : ''
    return `What the client sent is no HTTP request that can be forwarded${because(facts)}.${tls}`
  },

  body_too_large: ({ rxBytes, route }, limits) => {
    const limit = limits === null || limits.bodyBytes === Infinity ? '' : ` of ${spellBytes(limits.bodyBytes)}`
    const came = rxBytes > 0 ? ` ${spellBytes(rxBytes)} had come.` : ' It was refused by its Content-Length.'
    return `The client's upload is above limits.body${limit} of route ${route}.${came}`
  },

  no_route: ({ status, method, host, path }) =>
    status === 405
      ? `${method || 'The method'} is not allowed for ${`${host}${path}` || 'this path'}: a route matches, but for other methods.`
      : `No route matches ${[method, `${host}${path}`].filter(word => word !== '').join(' ') || 'the request'}.`,

  loop_detected: facts =>
    `The request has been through this gateway before: ${whom(facts)}, or a proxy behind it, sends requests back here.`,

  overloaded: ({ route }, limits) => {
    const most = limits === null || limits.inFlight === Infinity ? '' : ` ${limits.inFlight}`
    return `Route ${route} had all${most} exchanges of its limits.in_flight under way, and took no more; look where those hang.`
  },

  queue_full: (facts, limits) => {
    const { connections, waiting } = poolWords(limits)
    return `All${connections} connections to ${whom(facts)} were in use, and${waiting} exchanges waited for one already (pool.queue): refused at once.`
  },

  queue_timeout: (facts, limits) => {
    const { connections } = poolWords(limits)
    const { times } = facts
    return `Waited ${times.queue >= 0 ? `${spell(times.queue)} ` : ''}for a connection to ${whom(facts)} and got none: all${connections} were in use${limitOnly('queue', limits)}.`
  },

  draining: () => 'The gateway was stopping: the request came on a connection that was still open after drain.delay.',

  dns_error: facts => `The name of ${whom(facts)} does not resolve${because(facts)}.`,

  connect_refused: facts => `${whom(facts)} refused the connection, nobody listens there${because(facts)}.`,

  connect_unreachable: facts => `There is no way to ${whom(facts)}, says the network${because(facts)}.`,

  connect_timeout: (facts, limits) => {
    const { stage, times } = facts
    const after = within(times.connect)
    const limit = limitOnly('connect', limits)
    if (stage === 'dns') return `The resolver did not say where ${whom(facts)} is${after}${limit}.`
    if (stage === 'tls')
      return `${whom(facts)} took the connection and did not finish the TLS handshake${after}${limit}: it hangs.`
    return `${whom(facts)} did not take the connection${after}${limit}: packets are dropped, or its accept queue is full.`
  },

  tls_error: facts => `The TLS handshake with ${whom(facts)} failed${because(facts)}.`,

  stale_connection: (facts, limits) => {
    const ours = limits === null || limits.poolKeepaliveMs === Infinity ? '' : ` (${spell(limits.poolKeepaliveMs)})`
    return `${whom(facts)} closed an idle connection just as ${facts.method || 'the request'} was sent on it, and that cannot safely be sent twice. pool.keepalive${ours} must be shorter than the upstream's own keep-alive.`
  },

  reset: facts => {
    const { stage, times, txBytes } = facts
    if (stage === 'response_body')
      return `${whom(facts)} broke the connection in the middle of its answer, after ${spellBytes(txBytes)}${because(facts)}.`
    if (stage === 'request_write')
      return `${whom(facts)} broke the connection while it was taking the request${because(facts)}.`
    return `${whom(facts)} had the request and broke the connection${afterTime(times.responseHeaders)} without an answer${because(facts)}.`
  },

  request_write_timeout: (facts, limits) =>
    `${whom(facts)} accepted the connection and did not take the request: no byte${forTime('request_write', limits)}, after ${spellBytes(facts.rxBytes)} of the upload. It does not read.`,

  response_headers_timeout: (facts, limits) =>
    `${whom(facts)} had the whole request and sent no headers${within(facts.times.responseHeaders)}${limitOnly('response_headers', limits)}.`,

  body_idle_timeout: (facts, limits) =>
    `${whom(facts)} fell silent in the middle of its answer: no byte${forTime('body_idle', limits)}, after ${spellBytes(facts.txBytes)}.`,

  truncated: facts =>
    `${whom(facts)} ended its answer before it was complete, after ${spellBytes(facts.txBytes)}${because(facts)}.`,

  protocol_error: facts =>
    facts.stage === 'response_body'
      ? `${whom(facts)} sent something in its answer's body that is no HTTP, after ${spellBytes(facts.txBytes)}${because(facts)}.`
      : `What ${whom(facts)} sent is no HTTP answer that can be relayed${because(facts)}.`,

  deadline_exceeded: (facts, limits) => {
    const deadline = limits?.timeouts.get('request')
    const limit = deadline === undefined || deadline === Infinity ? '' : ` of ${spell(deadline)}`
    const spent = spentOn(facts)
    return `The deadline${limit} over the whole passed. ${begun(standing(facts))}.${spent === '' ? '' : ` The time went into: ${spent}.`}`
  },

  drain_killed: facts =>
    `The gateway was stopping, and this was still under way when drain.deadline passed. ${begun(standing(facts))}.`,

  resource_exhausted: facts =>
    `This process or machine is out of something${because(facts)}. ${begun(standing(facts))}. hopgate doctor -c FILE says what.`,

  internal_error: facts =>
    `Something failed inside hopgate${because(facts)}. ${begun(standing(facts))}. Please report it with its access line.`,

  ...WEBSOCKETS,
}

/** What was going on when it ended, without capital and full stop. */
function standing(facts: Facts): string {
  const { stage, times, rxBytes, txBytes } = facts
  const who = whom(facts)
  switch (stage) {
    case 'request_headers':
      return 'the request was still being read'
    case 'route':
      return 'the request had not been given to an upstream yet'
    case 'request_body':
      return `the client was still sending its body (${spellBytes(rxBytes)} had come)`
    case 'queue':
      return `the request was waiting for a connection to ${who}, all of which were in use`
    case 'dns':
      return `the name of ${who} was being resolved`
    case 'connect':
      return `the connection to ${who} was being opened`
    case 'tls':
      return `${who} had not finished the TLS handshake`
    case 'request_write':
      return `${who} had not taken the whole request`
    case 'response_headers':
      return `${who} had not sent headers`
    case 'response_body':
      return `${who} had sent headers${headersAfter(facts)}, and its answer was not complete (${spellBytes(txBytes)} so far)`
    case 'client_write':
      return `the client had not taken all of its answer (${spellBytes(txBytes)} were handed to it)`
    case 'tunnel':
      return 'the WebSocket was open'
    case undefined:
      return times.total >= 0 ? `it was ${spell(times.total)} old` : 'where it was is not known'
  }
}

/** The timeout whose clock runs in each stage. */
const STAGE_TIMEOUT: { readonly [S in Stage]?: TimeoutName } = {
  request_body: 'listen.timeouts.body_idle',
  queue: 'queue',
  dns: 'connect',
  connect: 'connect',
  tls: 'connect',
  request_write: 'request_write',
  response_headers: 'response_headers',
  response_body: 'body_idle',
  client_write: 'listen.timeouts.write_idle',
}

/** `; our limit was 2 s, the deadline 8 s`: how long we would have waited. */
function limitClause({ stage }: Facts, limits: Limits | null): string {
  const name = stage === undefined ? undefined : STAGE_TIMEOUT[stage]
  const ours = name === undefined ? undefined : limits?.timeouts.get(name)
  const deadline = limits?.timeouts.get('request')
  if (ours === undefined || deadline === undefined) return ''
  const limit = ours === Infinity ? 'we have no limit there' : `our limit was ${spell(ours)}`
  // The deadline's clock starts with the end of the upload.
  if (stage === 'request_body') return `; ${limit}`
  return `; ${limit}, ${deadline === Infinity ? 'and there is no deadline' : `the deadline ${spell(deadline)}`}`
}

/** ` (our limit: 2 s)`, or nothing. */
function limitOnly(name: TimeoutName, limits: Limits | null): string {
  const ms = limits?.timeouts.get(name)
  return ms === undefined || ms === Infinity ? '' : ` (our limit: ${name} ${spell(ms)})`
}

/** ` for 10 s (body_idle)`, or ` for as long as body_idle says`. */
function forTime(name: TimeoutName, limits: Limits | null): string {
  const ms = limits?.timeouts.get(name)
  return ms === undefined || ms === Infinity ? ` for as long as ${name} allows` : ` for ${spell(ms)} (${name})`
}

function within(ms: number): string {
  return ms >= 0 ? ` within ${spell(ms)}` : ''
}

function during(ms: number): string {
  return ms >= 0 ? ` in ${spell(ms)}` : ''
}

function afterTime(ms: number): string {
  return ms >= 0 ? ` after ${spell(ms)}` : ''
}

function headersAfter({ times }: Facts): string {
  const { total, responseBody } = times
  return total >= 0 && responseBody >= 0 ? ` after ${spell(Math.max(0, total - responseBody))}` : ''
}

function poolWords(limits: Limits | null): { readonly connections: string; readonly waiting: string } {
  if (limits === null || limits.poolConnections === Infinity) return { connections: '', waiting: ' enough' }
  return { connections: ` ${limits.poolConnections}`, waiting: ` ${limits.poolQueue}` }
}

const LEAST_TOLD_MS = 1

function spentOn({ times }: Facts): string {
  const parts: readonly (readonly [string, number])[] = [
    ['queue', times.queue],
    ['connect', times.connect],
    ['request_write', times.requestWrite],
    ['response_headers', times.responseHeaders],
    ['response_body', times.responseBody],
  ]
  return parts
    .filter(([, ms]) => ms >= LEAST_TOLD_MS)
    .map(([name, ms]) => `${name} ${spell(ms)}`)
    .join(', ')
}

/** After the headers nothing can be chosen any more. */
function cutNote({ outcome, status, stage, txBytes }: Facts): string {
  const late = stage === 'response_body' || stage === 'client_write'
  const plainEnd = outcome === 'completed' || outcome === 'client_abort'
  if (!late || plainEnd || status === OUTCOMES[outcome].status || status === 499) return ''
  return ` Status ${status} was out already: the client's connection was cut${txBytes > 0 ? ' in mid-answer' : ''}.`
}

/** Names of upstreams keep their spelling, wherever they stand. */
function begun(text: string): string {
  return /^(?:it|the|where) /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text
}
