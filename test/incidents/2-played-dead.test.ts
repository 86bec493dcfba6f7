/**
 * Played dead. The process that reads the gateway's standard output stops: a log shipper that hangs, a terminal in which
 * somebody pressed Ctrl-S. With pino's `sync: true`, once the pipe's 64 KiB are full the next line holds the event loop:
 * no answers, no health checks, no timeouts, nothing in the log either. The process looks alive and is not. With pino's
 * default, which is asynchronous and has no bound, it plays dead later: every line is kept in memory, none is counted as
 * lost, and the process that is told to end closes its port and then waits in exit() for the reader.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'
import { forAll, startHopgate, startNaive, until } from './support.ts'

const STALLED = { on: 'log', then: 'hang' } as const
const REQUESTS = 2000
const REST = 'log: { buffer: 256KiB }\ndrain: { delay: 10ms, deadline: 1s }'
/** No answer for so long, where it usually takes a ms, is none. */
const PATIENCE_MS = 2000
/** What is promised of hopgate's exit beyond its drain. */
const EXIT_MS = 2000

async function upstreamFor(t: TestContext): Promise<Upstream> {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  return upstream
}

/** One after the other; stops at the first that has no answer. @returns how many were answered */
async function answeredOf(client: RawClient, requests: number): Promise<number> {
  for (let n = 0; n < requests; n++) {
    const response = await client.request({ path: `/${n}` }).response.catch(() => undefined)
    if (response === undefined) return n
    assert.equal(response.status, 200)
  }
  return requests
}

test('naive, sync: the log is not read, and after a few hundred requests the gateway answers no more', async t => {
  const upstream = await upstreamFor(t)
  const gateway = await startNaive(t, upstream.url, { log: STALLED, pino: 'sync' })
  const client = await openClient(gateway.port, { timeoutMs: PATIENCE_MS })
  const answered = await answeredOf(client, REQUESTS)
  t.diagnostic(`${answered} of ${REQUESTS} requests answered, then none for ${PATIENCE_MS} ms`)
  assert.ok(answered < REQUESTS, `${answered} answered`)
  assert.ok(gateway.isAlive(), 'it plays dead, it is not')
})

test('naive, default: the log is not read, so all of it is kept in memory, and the process does not end', async t => {
  const upstream = await upstreamFor(t)
  const gateway = await startNaive(t, upstream.url, { log: STALLED })
  const client = await openClient(gateway.port)
  assert.equal(await answeredOf(client, REQUESTS), REQUESTS)
  client.leave('rst')
  gateway.child.kill('SIGTERM')
  await until('its port is closed', async () => {
    const dialled = await openClient(gateway.port).catch(() => undefined)
    dialled?.leave('rst')
    return dialled === undefined
  })
  await delay(EXIT_MS)
  assert.ok(gateway.isAlive(), `it serves nobody, and has not ended after ${EXIT_MS} ms`)
  let bytes = 0
  await until('it ends, now that the log is read', () => {
    bytes += gateway.reader?.readNow().length ?? 0
    return !gateway.isAlive()
  })
  t.diagnostic(
    `${(bytes / 1024).toFixed(0)} KiB of lines came when the log was read again: 64 KiB of them from the pipe`,
  )
  assert.ok(bytes > 2 * 64 * 1024, `${bytes} bytes`)
})

test('hopgate: the log is not read, and every request is answered; the lost lines are counted, the sink is down', async t => {
  const upstream = await upstreamFor(t)
  const gw = await startHopgate(t, { ...forAll(upstream.url), rest: REST }, { log: STALLED })
  const client = await openClient(gw.port, { timeoutMs: PATIENCE_MS })
  assert.equal(await answeredOf(client, REQUESTS), REQUESTS)
  assert.equal(await gw.metric('hopgate_requests_total', { outcome: 'completed' }), REQUESTS)
  await until('hopgate_log_sink_up 0', async () => (await gw.metric('hopgate_log_sink_up')) === 0)
  const dropped = await gw.metric('hopgate_log_dropped_total', { class: 'access' })
  assert.ok(dropped > 0, 'what was not kept is counted')

  let text = ''
  const read = (): void => {
    text += gw.reader?.readNow() ?? ''
  }
  await until('hopgate_log_sink_up 1', async () => {
    read()
    return (await gw.metric('hopgate_log_sink_up')) === 1
  })
  assert.equal((await client.request({ path: '/after' }).response).status, 200)
  await until('the line of /after', () => {
    read()
    return text.includes('"path":"/after"')
  })
  const lines = text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as { msg: string })
  const access = lines.filter(({ msg }) => msg === 'request').length
  const lost = await gw.metric('hopgate_log_dropped_total', { class: 'access' })
  t.diagnostic(`${REQUESTS + 1} requests: ${access} lines read, ${lost} counted as dropped`)
  assert.equal(access + lost, REQUESTS + 1, 'every line was either read or counted')
})

test('hopgate: the log is not read, and the process ends on time all the same', async t => {
  const upstream = await upstreamFor(t)
  const gw = await startHopgate(t, { ...forAll(upstream.url), rest: REST }, { log: STALLED })
  const client = await openClient(gw.port)
  assert.equal(await answeredOf(client, REQUESTS), REQUESTS)
  const told = performance.now()
  gw.child.kill('SIGTERM')
  await until('its end', () => !gw.isAlive())
  const took = performance.now() - told
  t.diagnostic(`ended after ${took.toFixed(0)} ms with code ${gw.child.exitCode}`)
  assert.equal(gw.child.exitCode, 0)
  assert.ok(took < EXIT_MS + 500, `${took} ms`)
})
