/** One upstream fault through a real gateway, and everything the contract says must be seen of it afterwards. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { answer, type CertificateName } from '../../src/prove/faults.ts'
import { type Behaviour, startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'
import type { RawResponse } from '../../src/prove/raw-response.ts'
import { testCa } from '../../src/prove/tls-fixtures.ts'
import { type AccessLine, simple, startTestGateway, sumOf, type TestGateway } from '../support/gateway.ts'

/** What the contract's outcome table says of a failure; `seen` where headers were sent before: the response is cut. */
export interface Expected {
  readonly outcome: string
  readonly stage: string
  readonly status: number
  readonly party?: 'upstream' | 'gateway' | 'client'
  readonly level?: string
  /** `error.code` of the access line; left out: there is no error. */
  readonly code?: string
  /** `error.message` of the access line. */
  readonly message?: RegExp
  /** In `hopgate_timeouts_total`. */
  readonly timeout?: string
  readonly proxyError?: string
  readonly retryAfter?: boolean
  /** Body bytes that the client has when the response is cut. */
  readonly cutAfter?: number
}

export interface FaultCase {
  readonly name: string
  readonly fault?: Behaviour
  readonly tls?: CertificateName
  /** The gateway is told that the upstream speaks TLS. */
  readonly https?: true
  /** Instead of an upstream of its own. */
  readonly endpoint?: () => Promise<string>
  /** YAML below the route and below the upstream. */
  readonly route?: string
  readonly upstream?: string
  readonly methods?: readonly Method[]
  readonly bodyBytes?: number
  readonly expect: Expected
}

/** An upper bound, on a machine that has more to do than it can: n times the work takes n times as long. */
export function slack(ms: number): number {
  return ms * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism())
}

export type Method = 'GET' | 'POST'

/** The stage durations that an exchange has when it ends at a stage, contract section 5. */
const REACHED: Readonly<Record<string, readonly string[]>> = {
  route: [],
  queue: ['t_queue'],
  dns: ['t_queue', 't_connect'],
  connect: ['t_queue', 't_connect'],
  tls: ['t_queue', 't_connect'],
  request_write: ['t_queue', 't_connect', 't_request_write'],
  response_headers: ['t_queue', 't_connect', 't_request_write', 't_response_headers'],
  response_body: ['t_queue', 't_connect', 't_request_write', 't_response_headers', 't_response_body'],
  client_write: ['t_queue', 't_connect', 't_request_write', 't_response_headers', 't_response_body'],
}

/** One slot: a second request is served only when the first gave its slot back. */
const ONE_SLOT = 'pool: { max_connections: 1 }'

export function faultTests(cases: readonly FaultCase[]): void {
  for (const one of cases) {
    for (const method of one.methods ?? (['GET', 'POST'] as const)) {
      const { outcome, stage, status, cutAfter } = one.expect
      const seen = cutAfter === undefined ? `${status}` : `${status} cut after ${cutAfter} bytes`
      test(`${method}: ${one.name}: ${outcome} in ${stage}, ${seen}`, t => expectFailure(t, one, method))
    }
  }
}

export async function expectFailure(t: TestContext, one: FaultCase, method: Method): Promise<void> {
  const upstream = one.fault === undefined ? undefined : await startUpstream(one.fault, tlsOption(one.tls))
  if (upstream !== undefined) t.after(() => upstream.close())
  const url = one.https === true ? upstream?.url.replace('http:', 'https:') : upstream?.url
  const endpoint = one.endpoint === undefined ? (url ?? '') : await one.endpoint()
  const gw = await startTestGateway(t, simple(endpoint, one.route, one.upstream ?? ONE_SLOT))
  const client = await openClient(gw.port)
  t.after(() => client.leave('rst'))
  const response = await client.request(requestOf(method, one.bodyBytes)).response
  const line = await gw.line()

  checkAccessLine(line, method, one.expect)
  if (one.expect.cutAfter === undefined) checkReply(response, line, one.expect)
  else checkCut(response, one.expect)
  await checkMetrics(gw, method, one.expect)
  if (upstream !== undefined) await checkUpstream(upstream, response, one.expect)
  await checkPoolEmpty(gw)
  if (upstream !== undefined && canRecover(one)) await checkRecovery(gw, upstream, client, response)
}

function requestOf(method: Method, bodyBytes = 1000) {
  return method === 'GET' ? { path: '/a?secret=1' } : { method, path: '/a?secret=1', body: bodyBytes }
}

export function checkAccessLine(line: AccessLine, method: string, expected: Expected): void {
  const { outcome, stage, status, party = 'upstream', level = 'warn', code, message } = expected
  assert.deepEqual(
    [line['msg'], line.outcome, line.stage, line.status, line.party, line['level'], line['method'], line.path],
    ['request', outcome, stage, status, party, level, method, '/a'],
    JSON.stringify(line),
  )
  const error = line['error'] as { code: string; message: string } | undefined
  assert.equal(error?.code, code, JSON.stringify(line))
  if (message !== undefined) assert.match(error?.message ?? '', message)
  const stages = Object.keys(line).filter(key => key.startsWith('t_') && key !== 't_total')
  assert.deepEqual(stages, REACHED[stage], JSON.stringify(line))
  const sum = stages.reduce((total, key) => total + (line[key] as number), 0)
  assert.ok(sum <= (line['t_total'] as number) + 0.1, `the stages are longer than the whole: ${JSON.stringify(line)}`)
}

/** The reply that the gateway made itself: whole, in problem+json, without a secret. */
export function checkReply(response: RawResponse, line: AccessLine, expected: Expected): void {
  const { outcome, stage, status, proxyError, retryAfter = false } = expected
  assert.deepEqual([response.status, response.complete], [status, true], JSON.stringify(line))
  assert.equal(response.header('content-type'), 'application/problem+json')
  const { title, ...problem } = JSON.parse(response.body.toString()) as Record<string, unknown>
  assert.deepEqual(problem, { status, outcome, stage, request_id: line.request_id })
  assert.equal(title, response.reason)
  assert.equal(response.header('x-request-id'), line.request_id)
  const proxyStatus = response.header('proxy-status') ?? ''
  assert.match(proxyStatus, /^hopgate; error=[a-z_]+; details="[a-z_]+"$/)
  if (proxyError !== undefined) assert.equal(proxyStatus, `hopgate; error=${proxyError}; details="${outcome}"`)
  assert.equal(response.header('retry-after') !== undefined, retryAfter, 'Retry-After')
  const said = JSON.stringify(response.headers) + response.body.toString()
  assert.doesNotMatch(said, /127\.0\.0\.1|localhost|\.invalid|\bE[A-Z]{4,}|:\d{4,5}\b/, 'an address or an errno text')
}

/** The response that had begun: what was sent stays, and the client can see that it is not whole. */
export function checkCut(response: RawResponse, expected: Expected): void {
  assert.equal(response.status, expected.status)
  assert.equal(response.complete, false, 'a truncated response ended cleanly')
  assert.notEqual(response.ended, 'open')
  assert.equal(response.body.length, expected.cutAfter)
}

async function checkMetrics(gw: TestGateway, method: string, expected: Expected): Promise<void> {
  const { outcome, stage, status, party = 'upstream', timeout } = expected
  const text = (await gw.admin('/metrics')).body as string
  const count = (name: string, labels: Record<string, string>): number => sumOf(text, name, labels)
  assert.equal(count('hopgate_failures_total', { route: 'r', upstream: 'up', outcome, stage, party }), 1, text)
  assert.equal(count('hopgate_failures_total', {}), 1)
  assert.equal(count('hopgate_requests_total', { route: 'r', method, code: String(status), outcome }), 1)
  assert.equal(count('hopgate_requests_total', {}), 1)
  assert.equal(count('hopgate_request_duration_seconds_count', { route: 'r', outcome }), 1)
  assert.equal(count('hopgate_timeouts_total', {}), timeout === undefined ? 0 : 1)
  if (timeout !== undefined) {
    assert.equal(count('hopgate_timeouts_total', { route: 'r', timeout }), 1)
    assert.equal(count('hopgate_timeout_overrun_seconds_count', { timeout }), 1)
    assert.equal(count('hopgate_upstream_cancel_seconds_count', { route: 'r' }), 1)
    assert.ok(count('hopgate_upstream_cancel_seconds_sum', { route: 'r' }) < slack(0.25), 'from the cause to the close')
  }
}

/** Every connection of a failed exchange ends; one that the gateway gave up ends by RST, as soon as the client knows. */
async function checkUpstream(upstream: Upstream, response: RawResponse, expected: Expected): Promise<void> {
  await upstream.allClosed()
  const end = upstream.connections[0]?.ended
  if (expected.timeout === undefined || end === undefined) return
  assert.equal(end.how, 'rst')
  assert.ok(end.at - response.doneAt < slack(250), `the upstream's socket lived ${end.at - response.doneAt} ms longer`)
}

export async function checkPoolEmpty(gw: TestGateway): Promise<void> {
  const [upstream] = (await gw.admin('/-/upstreams')).body as { queue: { depth: number }; endpoints: Pool[] }[]
  assert.equal(upstream?.queue.depth, 0)
  for (const { connecting, active, idle } of upstream?.endpoints ?? []) {
    assert.deepEqual({ connecting, active, idle }, { connecting: 0, active: 0, idle: 0 })
  }
}

export interface Pool {
  readonly url: string
  readonly connecting: number
  readonly active: number
  readonly idle: number
}

/** A port that refuses will go on refusing, and a certificate stays what it is. */
function canRecover({ fault, tls, https }: FaultCase): boolean {
  if (tls !== undefined || https === true) return false
  return typeof fault === 'function' || (fault?.on !== 'dial' && fault?.on !== 'tls')
}

/** The next request is served, on a connection of its own; the client's connection is still good if it should be. */
async function checkRecovery(gw: TestGateway, up: Upstream, client: RawClient, before: RawResponse): Promise<void> {
  const dialledBefore = up.counters.connections
  up.behave(answer())
  const kept = before.complete && before.header('connection') !== 'close'
  assert.equal(before.ended === 'open', kept, 'the fault of an upstream cost the client its connection')
  const next = kept ? client : await openClient(gw.port)
  const response = await next.request({ path: '/after' }).response
  if (next !== client) next.leave('rst')
  assert.deepEqual([response.status, response.body.toString()], [200, 'ok\n'])
  assert.equal(up.counters.connections, dialledBefore + 1, 'a connection that had failed was used again')
  const line = await gw.line()
  assert.deepEqual([line.outcome, line['reused'], line['attempts']], ['completed', false, 1])
}

export function tlsOption(tls: CertificateName | undefined): { tls?: CertificateName } {
  return tls === undefined ? {} : { tls }
}

/** The test authority as a file. */
export function caFile(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-ca-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'ca.pem')
  writeFileSync(path, testCa)
  return path
}
