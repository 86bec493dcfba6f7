/**
 * The 499/504 storm. An upstream stalls under 200 concurrent callers who wait 2 s. The gateway was configured to give it
 * 1 s and never did: nobody got a 504, everybody left, and the log showed 200 times 499, which looked like the callers'
 * fault. Every dead call kept its upstream connection, so when the upstream was well again the gateway was not. And on
 * quiet days, now and then, a 502 for no reason: a request that met the upstream's idle close on its way.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import type { RawResponse } from '../../src/prove/raw-response.ts'
import { percentile, spread } from '../exchange/waiting.ts'
import { startLatency } from './latency.ts'
import { type HopgateProcess, type Process, startHopgate, startNaive, until } from './support.ts'

const CALLERS = 200
const CALLER_PATIENCE_MS = 2000
const TIMEOUT_MS = 1000
/** max(50 ms, 2 %) is promised on an idle machine; all of these callers share two cores with the gateway. */
const NOISE_MS = 900

interface Call {
  /** 499: the caller left first, without an answer. */
  readonly status: number
  readonly ms: number
  readonly outcome: string
}

async function call(port: number): Promise<Call> {
  const client = await openClient(port)
  const { response } = client.request({ path: '/stalling/' })
  const sent = performance.now()
  const answered: RawResponse | undefined = await Promise.race([response, delay(CALLER_PATIENCE_MS, undefined)])
  const ms = performance.now() - sent
  client.leave('fin')
  const body = answered?.body.toString() ?? ''
  const outcome = body.startsWith('{') ? String((JSON.parse(body) as { outcome?: unknown }).outcome) : ''
  return { status: answered?.status ?? 499, ms, outcome }
}

const storm = (port: number): Promise<Call[]> => Promise.all(Array.from({ length: CALLERS }, () => call(port)))

function tally(calls: readonly Call[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status, outcome } of calls) {
    const key = outcome === '' ? String(status) : `${status} ${outcome}`
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

async function twoUpstreams(t: TestContext): Promise<{ stalling: Upstream; calm: Upstream }> {
  const [stalling, calm] = await Promise.all([startUpstream({ on: 'headers', then: 'hang' }), startUpstream(answer())])
  t.after(() => Promise.all([stalling.close(), calm.close()]))
  return { stalling, calm }
}

function hopgateFor(t: TestContext, stalling: Upstream, calm: Upstream, pool: string, timeouts = '') {
  return startHopgate(t, {
    upstreams: `
  stalling: { endpoints: ["${stalling.url}"], pool: ${pool} }
  calm: { endpoints: ["${calm.url}"] }`,
    routes: `
  - { name: stalling, match: { path_prefix: /stalling }, upstream: stalling, timeouts: { response_headers: 1s ${timeouts} } }
  - { name: calm, match: { path_prefix: /calm }, upstream: calm }`,
  })
}

/** Ms per request on the calm route, a request every few ms, until `during` is over. */
async function calmTimes(port: number, during: Promise<unknown>): Promise<number[]> {
  const times: number[] = []
  const client = await openClient(port)
  let isOver = false
  const end = during.then(() => {
    isOver = true
  })
  while (!isOver) {
    const response = await client.request({ path: '/calm/' }).response
    assert.equal(response.status, 200)
    times.push(response.doneAt - response.sentAt)
    await delay(2)
  }
  await end
  client.leave('rst')
  return times
}

test('naive: nobody gets a 504, everybody leaves; and when the upstream is well again, the gateway is not', async t => {
  const { stalling, calm } = await twoUpstreams(t)
  const gateway = await startNaive(t, [
    { prefix: '/stalling/', upstream: stalling.url },
    { prefix: '/calm/', upstream: calm.url },
  ])
  const counts = tally(await storm(gateway.port))
  assert.deepEqual(counts, { 499: CALLERS })
  const held = stalling.openSockets
  stalling.behave(answer())
  const after = await call(gateway.port)
  t.diagnostic(
    `callers: ${JSON.stringify(counts)}; the upstream still worked for ${held} of them; its first call after: ${after.status}`,
  )
  assert.ok(held > 100, `${held} connections to the upstream`)
  assert.equal(after.status, 499)
})

test('hopgate: every caller gets 504 at 1 s, the calm route stays calm, and the recovery is immediate', async t => {
  const { stalling, calm } = await twoUpstreams(t)
  const gw = await hopgateFor(t, stalling, calm, '{ max_connections: 200 }')
  await calmTimes(gw.port, delay(1000))
  const usual = await calmTimes(gw.port, delay(1000))
  const callers = storm(gw.port)
  // The dials of 200 callers are work like any other; the stall is what the calm route must not feel.
  await until('all of them wait', () => stalling.counters.requests === CALLERS)
  const stalled = await calmTimes(gw.port, delay(TIMEOUT_MS * 0.7))
  const calls = await callers
  stalling.behave(answer())
  const recovered = await call(gw.port)

  t.diagnostic(`callers: ${spread(calls.map(({ ms }) => ms))}; the first after the stall: ${recovered.status}`)
  t.diagnostic(`the calm route: ${spread(usual)}; during the stall: ${spread(stalled)}`)
  assert.deepEqual(tally(calls), { '504 response_headers_timeout': CALLERS })
  for (const { ms } of calls) assert.ok(ms >= TIMEOUT_MS - 1 && ms < TIMEOUT_MS + NOISE_MS, `${ms} ms`)
  assert.equal(recovered.status, 200)
  assert.ok(recovered.ms < NOISE_MS, `${recovered.ms} ms`)
  // 1.5x is promised, of a gateway with a core of its own. Here callers, gateway and upstreams share two: what they do to
  // each other shows in the p99 of a few hundred requests, and not in their median.
  assert.ok(percentile(stalled, 50) < percentile(usual, 50) * 1.5 + 1, 'p50')
  assert.ok(percentile(stalled, 99) < percentile(usual, 99) * 1.5 + 100, 'p99')
  assert.equal(stalling.counters.requests, CALLERS + 1, 'nobody was sent twice')
  await settled(gw, CALLERS)
})

test('hopgate: more callers than slots: the queue is bounded, and nobody waits longer than its timeout', async t => {
  const { stalling, calm } = await twoUpstreams(t)
  const gw = await hopgateFor(t, stalling, calm, '{ max_connections: 50, queue: 50 }', ', queue: 500ms')
  const calls = await storm(gw.port)
  assert.deepEqual(tally(calls), {
    '503 queue_full': CALLERS - 100,
    '503 queue_timeout': 50,
    '504 response_headers_timeout': 50,
  })
  assert.equal(stalling.counters.requests, 50, 'the upstream saw no more than it has slots')
  const waits = (outcome: string): number[] => calls.filter(call => call.outcome === outcome).map(({ ms }) => ms)
  t.diagnostic(`queue_full ${spread(waits('queue_full'))}; queue_timeout ${spread(waits('queue_timeout'))}`)
  assert.ok(Math.max(...waits('queue_full')) < 450, 'at once')
  assert.ok(Math.max(...waits('queue_timeout')) < TIMEOUT_MS)
  stalling.behave(answer())
  assert.equal((await call(gw.port)).status, 200)
  await settled(gw, CALLERS)
})

async function settled(gw: HopgateProcess, failures: number): Promise<void> {
  assert.ok(gw.isAlive())
  assert.equal(await gw.metric('hopgate_failures_total', { route: 'stalling' }), failures)
  assert.equal(await gw.metric('hopgate_failures_total', { outcome: 'client_abort' }), 0)
  assert.equal(await gw.metric('hopgate_accounting_imbalance'), 0)
  assert.equal(await gw.metric('hopgate_inflight_requests'), 0)
}

const LANES = 20
const REQUESTS_PER_LANE = 10
const IDLE_MS = 300
const LATENCY_MS = 10

/** An upstream of its own for each lane, 10 ms away, that closes a connection idle for 300 ms. */
async function idleClosers(t: TestContext): Promise<{ upstreams: Upstream[]; urls: string[] }> {
  const start = (): Promise<Upstream> => startUpstream({ on: 'idle', then: 'fin', afterMs: IDLE_MS })
  const upstreams = await Promise.all(Array.from({ length: LANES }, start))
  t.after(() => Promise.all(upstreams.map(upstream => upstream.close())))
  return { upstreams, urls: await Promise.all(upstreams.map(({ port }) => startLatency(t, port, LATENCY_MS))) }
}

/** A GET every 290 to 310 ms on each lane, 200 in all. @returns how often each status came */
async function race(gateway: Process): Promise<Record<number, number>> {
  const counts: Record<number, number> = {}
  const lane = async (_: unknown, index: number): Promise<void> => {
    for (let n = 0; n < REQUESTS_PER_LANE; n++) {
      const { status } = await requestOnce(gateway.port, { path: `/${index}/` })
      counts[status] = (counts[status] ?? 0) + 1
      await delay(IDLE_MS - 10 + ((index + n * 7) % 21))
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return counts
}

test('naive: the keep-alive race: requests that meet the idle close of their connection fail', async t => {
  const { urls } = await idleClosers(t)
  const gateway = await startNaive(
    t,
    urls.map((upstream, index) => ({ prefix: `/${index}/`, upstream })),
  )
  const counts = await race(gateway)
  t.diagnostic(`200 GETs: ${JSON.stringify(counts)}`)
  assert.ok((counts[200] ?? 0) < 200, 'some of them failed')
})

test('hopgate: the keep-alive race: 200 GETs, and not one 502', async t => {
  const { upstreams, urls } = await idleClosers(t)
  const gw = await startHopgate(t, {
    upstreams: urls.map((url, index) => `\n  up${index}: { endpoints: ["${url}"] }`).join(''),
    routes: urls.map((_, n) => `\n  - { name: r${n}, match: { path_prefix: /${n} }, upstream: up${n} }`).join(''),
  })
  const counts = await race(gw)
  const seen = upstreams.reduce((sum, { counters }) => sum + counters.requests, 0)
  const dials = upstreams.reduce((sum, { counters }) => sum + counters.connections, 0)
  const reused = await gw.metric('hopgate_connection_reuse_total', { reused: 'true' })
  const fresh = await gw.metric('hopgate_connection_reuse_total', { reused: 'false' })
  const races = reused - (seen - dials)
  t.diagnostic(`200 GETs: ${JSON.stringify(counts)}; ${races} met a close on their way and were sent again`)
  assert.deepEqual(counts, { 200: LANES * REQUESTS_PER_LANE })
  assert.ok(races > 0, 'the race was run')
  assert.equal(reused + fresh, LANES * REQUESTS_PER_LANE + races, 'each of them once')
  assert.equal(seen, LANES * REQUESTS_PER_LANE, 'no upstream saw one twice')
})
