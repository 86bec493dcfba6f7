/**
 * CLOSE_WAIT. 500 callers upload 200 KB each to an upstream that has stopped reading, and leave. The gateway reads none of
 * their uploads, so it sees none of them go (stack fact 5): their sockets stay in CLOSE_WAIT (or look ESTABLISHED, where
 * the caller's FIN waits behind a closed window), each with its descriptor and its buffers, and their requests are sent to
 * the upstream long after nobody wants the answers. When the descriptors are used up, nobody else is let in.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient, requestOnce } from '../../src/prove/raw-client.ts'
import { readSocketTable } from '../../src/prove/socket-table.ts'
import { forAll, type HopgateProcess, type Process, startHopgate, startNaive, until } from './support.ts'

const CALLERS = 500
const UPLOAD_BYTES = 200_000
const SLOTS = 20
/** `ulimit -n` of the second part: the callers need more. */
const FEW_DESCRIPTORS = 256
const RECOVERY_MS = 5000
/** Less than the 2 s for which a caller may wait for a slot. */
const NOTICE_MS = 1200

async function unread(t: TestContext): Promise<Upstream> {
  const upstream = await startUpstream({ on: 'request', then: 'stop-reading' })
  t.after(() => upstream.close())
  return upstream
}

/** One caller; undefined where the connection was refused. Every second one leaves in the middle of its upload. */
async function caller(port: number, index: number): Promise<RawClient | undefined> {
  const client = await openClient(port).catch(() => undefined)
  client?.requestHead({ method: 'POST', path: `/${index}`, headers: [['Content-Length', String(UPLOAD_BYTES)]] })
  await client?.sendUnlessGone(Buffer.alloc(index % 2 === 0 ? UPLOAD_BYTES : UPLOAD_BYTES / 2, 'u'))
  return client
}

/** What the gateway's kernel holds for callers, all of whom have left. */
async function corpsesOf(port: number): Promise<{ closeWait: number; all: number }> {
  const rows = (await readSocketTable()).filter(({ localPort }) => localPort === port)
  const count = (...states: string[]): number => rows.filter(({ state }) => states.includes(state)).length
  return { closeWait: count('CLOSE_WAIT'), all: count('CLOSE_WAIT', 'ESTABLISHED') }
}

interface Aftermath {
  readonly connected: number
  /** Right after the callers have left, and 5 s later or as soon as there is none. */
  readonly first: { readonly closeWait: number; readonly all: number }
  readonly last: { readonly closeWait: number; readonly all: number }
  readonly afterMs: number
}

/**
 * The callers come, wait for half a second, and leave without an answer: those who wait for a slot first, then those whose
 * requests the upstream has. In the other order each slot that is given back may rightly go to a caller who leaves next.
 */
async function comeAndLeave(port: number, upstream: Upstream): Promise<Aftermath> {
  const callers = (await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(port, index)))).map(
    (client, index) => ({ client, path: `/${index}` }),
  )
  await delay(500)
  const sent = new Set(upstream.requests.map(({ path }) => path))
  const left = performance.now()
  for (const { client, path } of callers) if (!sent.has(path)) client?.leave('fin')
  // On a busy machine it may take a while until a gateway has noticed all of them; one that never does is not waited for.
  const noticedBy = left + NOTICE_MS
  while (performance.now() < noticedBy && (await corpsesOf(port)).all > sent.size) await delay(20)
  for (const { client, path } of callers) if (sent.has(path)) client?.leave('fin')
  await delay(50)
  const first = await corpsesOf(port)
  let last = first
  while (last.all > 0 && performance.now() - left < RECOVERY_MS) {
    await delay(50)
    last = await corpsesOf(port)
  }
  const connected = callers.filter(({ client }) => client !== undefined).length
  return { connected, first, last, afterMs: performance.now() - left }
}

function told({ connected, first, last, afterMs }: Aftermath): string {
  const sockets = ({ closeWait, all }: Aftermath['first']): string => `${all} sockets, ${closeWait} in CLOSE_WAIT`
  return `${connected} came and left: at first ${sockets(first)}; after ${afterMs.toFixed(0)} ms ${sockets(last)}`
}

/** The upstream is well again: is the gateway? */
async function statusAfterwards(upstream: Upstream, gateway: Process): Promise<number> {
  upstream.behave(answer())
  const response = await requestOnce(gateway.port, { path: '/after' }, { timeoutMs: 2000 }).catch(() => undefined)
  return response?.status ?? 0
}

const POOL = `, pool: { max_connections: ${SLOTS} }`
const ROUTE = ', timeouts: { queue: 2s, request_write: 4s }'

async function recovered(gw: HopgateProcess, descriptors: number): Promise<void> {
  // Sampled by itself, so that it does not race the sockets that this very question opens.
  await until(`${descriptors} descriptors as before`, () => gw.descriptors() <= descriptors)
  await until('no slot is taken', async () => (await gw.metric('hopgate_pool_connections', { state: 'active' })) === 0)
  assert.equal(await gw.metric('hopgate_inflight_requests'), 0)
  assert.equal(await gw.metric('hopgate_accounting_imbalance'), 0)
}

test('naive: 5 s later the callers that left are still there, and nobody else is served', async t => {
  const upstream = await unread(t)
  const gateway = await startNaive(t, upstream.url)
  const before = gateway.descriptors()
  const aftermath = await comeAndLeave(gateway.port, upstream)
  const descriptors = gateway.descriptors()
  const status = await statusAfterwards(upstream, gateway)
  t.diagnostic(
    `${told(aftermath)}; descriptors: ${before}, then ${descriptors}; the next request: ${status || 'no answer'}`,
  )
  assert.ok(aftermath.last.all > 100 && descriptors > before + 100, 'the dead are kept')
  assert.notEqual(status, 200, 'and the living are not served')
})

test('hopgate: no caller is left behind, the upstream saw only what it had slots for, the descriptors are back', async t => {
  const upstream = await unread(t)
  const gw = await startHopgate(t, forAll(upstream.url, POOL, ROUTE))
  await requestWarm(gw, upstream)
  const before = gw.descriptors()
  const aftermath = await comeAndLeave(gw.port, upstream)
  const aborts = await gw.metric('hopgate_failures_total', { outcome: 'client_abort' })
  t.diagnostic(`${told(aftermath)}; ${aborts} client_abort; the upstream saw ${upstream.counters.requests - 1}`)
  assert.equal(aftermath.connected, CALLERS)
  assert.deepEqual(aftermath.last, { closeWait: 0, all: 0 })
  assert.ok(upstream.counters.requests - 1 <= SLOTS, 'no request of a caller who had left was sent')
  assert.equal(await statusAfterwards(upstream, gw), 200)
  await recovered(gw, before)
})

/** Callers one after the other, all with whole uploads, until one is not let in. All at once, many meet EMFILE and are gone. */
async function comeUntilFull(gateway: Process): Promise<RawClient[]> {
  const callers: RawClient[] = []
  while (gateway.descriptors() < FEW_DESCRIPTORS - 1) {
    const before = gateway.descriptors()
    const client = await caller(gateway.port, 0)
    if (client === undefined) break
    callers.push(client)
    await until('the caller is let in', () => gateway.descriptors() > before)
  }
  return callers
}

test(`naive, ulimit -n ${FEW_DESCRIPTORS}: the descriptors are used up by the dead, and nobody is served any more`, async t => {
  const upstream = await unread(t)
  const gateway = await startNaive(t, upstream.url, { descriptors: FEW_DESCRIPTORS, connections: SLOTS })
  const callers = await comeUntilFull(gateway)
  // Those that wait for a connection: the others are seen to leave, though their work goes on.
  for (const client of callers.slice(SLOTS)) client.leave('fin')
  await delay(RECOVERY_MS)
  const { all } = await corpsesOf(gateway.port)
  const status = await statusAfterwards(upstream, gateway)
  const kept = `${callers.length} came, all but ${SLOTS} left: after ${RECOVERY_MS} ms ${all} sockets`
  t.diagnostic(`${kept}; alive: ${gateway.isAlive()}; the next request: ${status || 'no answer'}`)
  assert.ok(!gateway.isAlive() || all > 50, 'the dead are kept')
  assert.notEqual(status, 200)
})

test(`hopgate, ulimit -n ${FEW_DESCRIPTORS}: no crash, what is too much is refused, and it recovers in full`, async t => {
  const upstream = await unread(t)
  const gw = await startHopgate(t, forAll(upstream.url, POOL, ROUTE), { descriptors: FEW_DESCRIPTORS })
  await requestWarm(gw, upstream)
  const before = gw.descriptors()
  const aftermath = await comeAndLeave(gw.port, upstream)
  assert.ok(gw.isAlive(), gw.stderr())
  assert.equal(gw.stderr(), '')
  assert.deepEqual(aftermath.last, { closeWait: 0, all: 0 })
  const accepted = await gw.metric('hopgate_client_connections_total', { result: 'accepted' })
  const exhausted = await gw.metric('hopgate_failures_total', { outcome: 'resource_exhausted' })
  t.diagnostic(`${told(aftermath)}; ${accepted} accepted in all, ${exhausted} resource_exhausted`)
  assert.ok(upstream.counters.requests - 1 <= SLOTS, 'no request of a caller who had left was sent')
  assert.equal(await statusAfterwards(upstream, gw), 200)
  await recovered(gw, before)
})

/** What a process opens once, at its first request and its first scrape, is no leak. */
async function requestWarm(gw: HopgateProcess, upstream: Upstream): Promise<void> {
  upstream.behave(answer({ keepAlive: false }))
  assert.equal((await requestOnce(gw.port)).status, 200)
  await gw.metric('hopgate_inflight_requests')
  await upstream.allClosed()
  upstream.behave({ on: 'request', then: 'stop-reading' })
}
