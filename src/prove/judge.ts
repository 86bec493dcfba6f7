/** Holds what was seen of a case against what the contract promises; every difference is a sentence. */
import type { ProveCase } from './case.ts'
import type { Ground, Line } from './ground.ts'
import { type Expected, promisesRetryAfter, toleranceMs } from './promised.ts'
import type { RawResponse } from './raw-response.ts'
import type { Samples } from './samples.ts'
import { SUBJECT_PORT, type Witness } from './witness.ts'

/** From the cause, or the end of an exchange, to the end of its upstream connection, ms. */
export const UPSTREAM_GONE_MS = 100
/** What an upstream that does not read takes to see it, ms; the gateway's own measure of it is held to the rule. */
const UNREAD_MS = 250
/** Clocks of two observers in one event loop, ms: what is seen a turn later was not early. */
const SAME_INSTANT_MS = 2
/** What the peer's kernel took is known to nobody at that very instant: the gateway, too, must look at a table. */
const KERNEL_MS = 25

/** What the gateway and the kit say of it may be of different instants: the keep-alive of one can end in between. */
export const IDLE_POOL = 'hopgate_pool_connections{state="idle"}'

export interface Judgement {
  readonly expected: Expected
  /** ms since the timeout's first event; undefined: nothing ended it. */
  readonly firedMs?: number
  readonly overrunMs?: number
  /** What it was called: `response_headers_timeout, response_headers, upstream, 504`. */
  readonly called?: string
  /** What is wrong; empty: proven. */
  readonly wrong: readonly string[]
  /** What is wrong with the time alone. */
  readonly late: readonly string[]
}

/** The access line of the case's own request; those in its way have other ports in Host, or come later. */
export function lineOf(ground: Ground, response: RawResponse | undefined): Line | undefined {
  const id = response?.header('x-request-id')
  const { lines } = ground
  return (
    lines.find(({ fields }) => id !== undefined && fields['request_id'] === id) ??
    lines.find(({ fields }) => String(fields['host']).endsWith(`:${SUBJECT_PORT}`)) ??
    lines.find(({ fields }) => fields['host'] === '')
  )
}

export function judge(one: ProveCase, ground: Ground, witness: Witness): Judgement {
  const line = lineOf(ground, witness.response)
  const judgements = one.expect.map(expected => against(expected, line, witness))
  const best = judgements.find(({ wrong, late }) => wrong.length + late.length === 0)
  return best ?? judgements.find(({ wrong }) => wrong.length === 0) ?? (judgements[0] as Judgement)
}

function against(expected: Expected, line: Line | undefined, witness: Witness): Judgement {
  const wrong = sawWrong(expected, witness)
  const late: string[] = []
  for (const { carrier, tookMs } of closings(expected, witness)) {
    if (tookMs === Infinity) wrong.push(`the upstream connection ${carrier} was not closed`)
    else if (tookMs > UPSTREAM_GONE_MS + (witness.unread === true ? UNREAD_MS : 0))
      late.push(`the upstream connection was closed only ${ms(tookMs)} later`)
  }
  if (line === undefined) wrong.push('no access line was written')
  else wrong.push(...lineWrong(expected, line, witness.response))
  const judgement = { expected, wrong, late, ...(line === undefined ? {} : { called: calledBy(line) }) }
  const { endedAt, leftAt } = witness
  if (endedAt === undefined) {
    const { timeout, afterMs } = expected
    if (timeout !== undefined)
      wrong.push(`${timeout} did not fire, ${Math.round((afterMs ?? 0) + 2500)} ms were waited`)
    return judgement
  }
  if (leftAt !== undefined) {
    const noticedMs = endedAt - leftAt
    if (witness.promptly === true && noticedMs > UPSTREAM_GONE_MS) {
      late.push(`that the client had left had no consequence for ${ms(noticedMs)}`)
    }
    return { ...judgement, firedMs: noticedMs }
  }
  const { timeout, afterMs } = expected
  if (timeout === undefined || afterMs === undefined) return judgement
  const start = witness.starts.get(timeout) ?? witness.starts.get('else')
  if (start === undefined) return judgement
  const atLeast = endedAt - start.before
  const atMost = endedAt - start.after
  // Between the two it is not known, but for that it cannot have been early.
  const middle = (atLeast + atMost) / 2
  const firedMs = atMost >= afterMs ? Math.max(middle, afterMs) : middle
  const most = afterMs + toleranceMs(afterMs)
  const kernels = timeout === 'request_write' || timeout === 'listen.timeouts.write_idle'
  if (atMost < afterMs - (kernels ? KERNEL_MS : SAME_INSTANT_MS)) {
    late.push(`${timeout} fired after ${ms(atMost)}, before its ${ms(afterMs)}`)
  } else if (atLeast > most) {
    late.push(`${timeout} fired after ${ms(atLeast)}, later than ${ms(afterMs)} and the ${ms(most - afterMs)} allowed`)
  }
  return { ...judgement, firedMs, overrunMs: firedMs - afterMs }
}

function ms(value: number): string {
  return `${Math.round(value)} ms`
}

export function calledBy({ fields }: Line): string {
  return [fields['outcome'], fields['stage'], fields['party'], fields['status']]
    .filter(word => word !== undefined)
    .join(', ')
}

function lineWrong(expected: Expected, { fields }: Line, response: RawResponse | undefined): string[] {
  const wrong: string[] = []
  const compare = (what: string, seen: unknown, promised: unknown): void => {
    if (seen !== promised) wrong.push(`the access line says ${what} ${String(seen)}, not ${String(promised)}`)
  }
  compare('outcome', fields['outcome'], expected.outcome)
  if (wrong.length > 0 && fields['error'] !== undefined) wrong.push(`its error is ${JSON.stringify(fields['error'])}`)
  if (!expected.stages.some(stage => stage === fields['stage'])) {
    compare('stage', fields['stage'], expected.stages.map(String).join(' or '))
  }
  compare('party', fields['party'], expected.party)
  compare('status', fields['status'], expected.status)
  if (expected.attempts !== undefined) compare('attempts', fields['attempts'], expected.attempts)
  const id = response?.header('x-request-id')
  if (id !== undefined) compare('request_id', fields['request_id'], id)
  return wrong
}

function sawWrong(expected: Expected, { response, closedBy, finished }: Witness): string[] {
  const wrong: string[] = []
  if (finished === false) wrong.push('the upstream was not left to finish its work')
  if (expected.seen === 'left') return wrong
  if (expected.seen === 'closed') {
    if (closedBy !== 'fin' && closedBy !== 'rst') wrong.push('the connection was not closed')
    return wrong
  }
  if (response === undefined) return [...wrong, 'the client was told nothing']
  if (response.status !== expected.status) {
    wrong.push(`the client saw status ${response.status}, not ${expected.status}`)
  }
  if (expected.seen === 'cut') {
    if (response.complete) wrong.push('the client saw a complete response, not a truncated one')
    return wrong
  }
  if (!response.complete) wrong.push('the client saw a truncated response')
  if (expected.seen === 'reply') wrong.push(...replyWrong(expected, response))
  return wrong
}

/** Contract section 3: what replies of the gateway's own are made of, and what they never carry. */
function replyWrong(expected: Expected, response: RawResponse): string[] {
  const wrong: string[] = []
  const text = response.body.toString('utf8')
  if (response.header('content-type') !== 'application/problem+json') wrong.push('the reply is no problem+json')
  if (!text.includes(`"outcome":"${expected.outcome}"`)) wrong.push(`the reply does not name ${expected.outcome}`)
  if (response.header('proxy-status') === undefined) wrong.push('the reply has no Proxy-Status')
  if (promisesRetryAfter(expected.outcome) && response.header('retry-after') === undefined) {
    wrong.push('the reply has no Retry-After')
  }
  if (/127\.0\.0\.1|ECONN|ETIMEDOUT|EPIPE/.test(text)) wrong.push('the reply tells an address or an errno')
  return wrong
}

/** How long after the end of the exchange each of its upstream connections was closed; Infinity: it was not. */
function closings(expected: Expected, { carriers, endedAt, leftAt }: Witness) {
  if (expected.outcome === 'completed' || endedAt === undefined) return []
  const from = leftAt === undefined ? endedAt : Math.max(leftAt, endedAt)
  return carriers.map(({ index, ended, isOpen }) => {
    return { carrier: index, tookMs: ended === undefined && isOpen ? Infinity : (ended?.at ?? from) - from }
  })
}

export interface Books {
  readonly wrong: readonly string[]
  /** Of the gateway's own clock. */
  readonly late: readonly string[]
}

/** Metrics against access lines, and the books against zero; to be asked when nothing is in flight any more. */
export function booksWrong(one: ProveCase, expected: Expected, ground: Ground, samples: Samples): Books {
  const wrong: string[] = []
  const late: string[] = []
  const same = (what: string, seen: number, promised: number): void => {
    if (seen !== promised) wrong.push(`${what} is ${seen}, not ${promised}`)
  }
  const { lines } = ground
  same('hopgate_requests_total', samples.sum('hopgate_requests_total'), lines.length)
  for (const { fields } of new Map(lines.map(line => [calledBy(line), line])).values()) {
    const { outcome, status, stage, party, route } = fields
    const alike = lines.filter(
      ({ fields: other }) => other['outcome'] === outcome && other['status'] === status && other['stage'] === stage,
    ).length
    const failed = { route: String(route), outcome: String(outcome), stage: String(stage), party: String(party) }
    const requests = { route: String(route), outcome: String(outcome), code: String(status) }
    // Of one status and outcome there may be several stages.
    const seen = samples.sum('hopgate_requests_total', requests)
    if (seen < alike) wrong.push(`hopgate_requests_total${JSON.stringify(requests)} is ${seen}, the lines are ${alike}`)
    if (outcome === 'completed') continue
    const failures = samples.sum('hopgate_failures_total', failed)
    if (failures < alike) wrong.push(`hopgate_failures_total${JSON.stringify(failed)} is ${failures}, not ${alike}`)
  }
  const { timeout, afterMs } = expected
  if (timeout !== undefined) {
    const fired = samples.sum('hopgate_timeouts_total', { timeout })
    if (fired < 1) wrong.push(`hopgate_timeouts_total{timeout="${timeout}"} did not count it`)
    const overruns = samples.sum('hopgate_timeout_overrun_seconds_count', { timeout })
    if (timeout !== 'listen.min_body_rate' && overruns !== fired) {
      wrong.push(`hopgate_timeout_overrun_seconds{timeout="${timeout}"} counted ${overruns}, not ${fired}`)
    }
    const worst = samples.sum('hopgate_timeout_overrun_seconds_sum', { timeout }) * 1000
    if (one.crowd === undefined && worst > toleranceMs(afterMs ?? 0)) {
      late.push(`the gateway's own hopgate_timeout_overrun_seconds tells ${ms(worst)}`)
    }
  }
  // On average; where others are in the way, theirs are counted, too.
  const cancels = samples.sum('hopgate_upstream_cancel_seconds_count')
  const cancelMs = (samples.sum('hopgate_upstream_cancel_seconds_sum') * 1000) / Math.max(1, cancels)
  if (cancelMs > UPSTREAM_GONE_MS) late.push(`the gateway's own hopgate_upstream_cancel_seconds tells ${ms(cancelMs)}`)
  for (const ledger of ['requests', 'slots', 'timers']) {
    same(`hopgate_accounting_imbalance{ledger="${ledger}"}`, samples.sum('hopgate_accounting_imbalance', { ledger }), 0)
  }
  for (const gauge of ['hopgate_inflight_requests', 'hopgate_queue_depth', 'hopgate_client_connections']) {
    same(gauge, samples.sum(gauge), 0)
  }
  // A connection that the pool calls idle is open at the upstream, too.
  const open = ground.upstreams.reduce((sum, { openSockets }) => sum + openSockets, 0)
  const idle = samples.sum('hopgate_pool_connections', { state: 'idle' })
  if (idle > open) same(IDLE_POOL, idle, open)
  for (const state of ['connecting', 'active']) {
    same(`hopgate_pool_connections{state="${state}"}`, samples.sum('hopgate_pool_connections', { state }), 0)
  }
  return { wrong, late }
}
