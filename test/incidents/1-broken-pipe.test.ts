/**
 * Broken pipe. A caller gives up after 300 ms. nginx notes 499 and closes its connection to the gateway. The gateway
 * does not notice: the upstream works on, and what it answers later, 300 KB, is written to nobody. Under load the
 * upstream spends most of its time on answers that nobody waits for, and no metric of the gateway says so.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { spread } from '../exchange/waiting.ts'
import { type GatewaySpec, simple, startTestGateway } from '../support/gateway.ts'
import { type Nginx, startNaive, startNginx, until, withoutNginx } from './support.ts'

const CALLER_PATIENCE_MS = 300
const ANSWER_AFTER_MS = 1000
const ANSWER_BYTES = 300 * 1024
const CALLERS = 10

/** Well above what a busy machine adds, well below the 700 ms for which the upstream would work on. */
const NOISE_MS = 350
/** What is promised, and held by the typical call. */
const CANCEL_MS = 50

async function lateUpstream(t: TestContext): Promise<Upstream> {
  const upstream = await startUpstream(answer({ body: ANSWER_BYTES, delayHeadersMs: ANSWER_AFTER_MS }))
  t.after(() => upstream.close())
  return upstream
}

function hopgate(upstream: Upstream, route = ''): GatewaySpec {
  return { ...simple(upstream.url, route), listen: '  trusted_proxies: ["127.0.0.0/8"]' }
}

/** Calls through nginx, and gives up; resolves when nginx has written it down. */
async function giveUp(nginx: Nginx, status = 499): Promise<void> {
  const before = nginx.entries().length
  const client = await openClient(nginx.port)
  client.request()
  await delay(CALLER_PATIENCE_MS)
  client.leave('fin')
  await until('a line of nginx', () => nginx.entries().length > before)
  assert.equal(nginx.entries().at(-1)?.status, status)
}

const sinceEpoch = (at: number): number => performance.timeOrigin + at

async function typicalAnswer(port: number): Promise<void> {
  const { status, complete, body } = await requestOnce(port)
  assert.deepEqual([status, complete, body.length], [200, true, ANSWER_BYTES])
}

describe('broken pipe', { skip: withoutNginx }, () => {
  test('naive: nginx has given up, and the upstream works on until it has answered 300 KB to nobody', async t => {
    const upstream = await lateUpstream(t)
    const gateway = await startNaive(t, upstream.url)
    const nginx = await startNginx(t, gateway.port)
    await giveUp(nginx)
    const request = await upstream.nextRequest()
    const finished = await request.answered
    const closed = nginx.entries()[0]?.at ?? 0
    const workedOn = sinceEpoch(finished) - closed
    t.diagnostic(`after nginx's 499 the upstream worked on for ${workedOn.toFixed(0)} ms, to the end of its answer`)
    assert.ok(workedOn > 500, `${workedOn} ms`)
    assert.equal(upstream.counters.answered, 1)
  })

  test('hopgate: the upstream is cancelled at once, every 499 of nginx is a client_abort with its id', async t => {
    const upstream = await lateUpstream(t)
    const gw = await startTestGateway(t, hopgate(upstream))
    const nginx = await startNginx(t, gw.port)
    const delays: number[] = []
    for (let n = 0; n < CALLERS; n++) {
      await giveUp(nginx)
      const { connection } = await upstream.nextRequest()
      const end = await connection.closed
      assert.equal(end.how, 'rst')
      const entry = nginx.entries()[n]
      const line = await gw.line()
      assert.deepEqual(
        [line.outcome, line.stage, line.status, line.party, line.request_id],
        ['client_abort', 'response_headers', 499, 'client', entry?.requestId],
      )
      delays.push(sinceEpoch(end.at) - (entry?.at ?? 0))
    }
    t.diagnostic(`from nginx's close to the upstream's reset: ${spread(delays)}`)
    delays.sort((a, b) => a - b)
    assert.ok((delays[CALLERS >> 1] ?? 0) <= CANCEL_MS, `the median of ${delays}`)
    assert.ok((delays.at(-1) ?? 0) <= NOISE_MS, `the longest of ${delays}`)
    assert.equal(upstream.counters.answered, 0, 'no answer was made for nobody')
    assert.equal(await gw.metric('hopgate_failures_total', { outcome: 'client_abort', party: 'client' }), CALLERS)
    assert.equal(await gw.metric('hopgate_failures_total', { party: 'upstream' }), 0)
    await typicalAnswer(nginx.port)
  })

  test('hopgate: a caller who gives up in the middle of the answer: what was on its way is counted', async t => {
    const bytes = 32 * 1024 * 1024
    const upstream = await startUpstream(answer({ body: bytes }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, hopgate(upstream))
    const nginx = await startNginx(t, gw.port)
    const client = await openClient(nginx.port)
    await client.request().headers
    // It reads no more, so the answer fills nginx and then the gateway.
    client.pause()
    await until('the answer is held up', async () => {
      const { body } = await gw.admin('/-/inflight')
      return (body as { stage: string }[])[0]?.stage === 'client_write'
    })
    client.leave('rst')
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'client_write', 200])
    const lost = line['aborted_write_bytes'] as number
    t.diagnostic(`${lost} bytes were on their way`)
    assert.ok(lost > 0)
    assert.equal(await gw.metric('hopgate_aborted_write_bytes_total'), lost)
    assert.ok((await gw.metric('hopgate_aborted_writes_total')) > 0)
    assert.equal((await upstream.connections[0]?.closed)?.how, 'rst')
  })

  test('on_client_abort: finish: the upstream completes, and its 300 KB are counted as written to nobody', async t => {
    const upstream = await lateUpstream(t)
    const gw = await startTestGateway(t, hopgate(upstream, 'on_client_abort: finish'))
    const nginx = await startNginx(t, gw.port)
    await giveUp(nginx)
    await (await upstream.nextRequest()).answered
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.request_id, line['aborted_write_bytes']],
      ['client_abort', 'response_headers', 499, nginx.entries()[0]?.requestId, ANSWER_BYTES],
    )
    assert.equal(await gw.metric('hopgate_aborted_write_bytes_total'), ANSWER_BYTES)
    assert.equal(upstream.openSockets, 1, 'its connection is kept for the next request')
    await typicalAnswer(nginx.port)
    assert.equal(upstream.counters.connections, 1)
  })

  test('proxy_ignore_client_abort on: nginx stays until it has an answer to write, and only then leaves the gateway', async t => {
    const upstream = await lateUpstream(t)
    const gw = await startTestGateway(t, hopgate(upstream))
    const nginx = await startNginx(t, gw.port, 'proxy_ignore_client_abort on;')
    await giveUp(nginx, 200)
    const line = await gw.line()
    assert.equal(line.request_id, nginx.entries()[0]?.requestId)
    assert.ok((line['t_response_headers'] as number) > ANSWER_AFTER_MS - 50, 'the upstream was given its time')
    assert.deepEqual([line.status, line.party === 'upstream'], [200, false])
    t.diagnostic(`nginx: 200; hopgate: ${line.outcome} in ${line.stage}, ${line['aborted_write_bytes']} bytes lost`)
  })

  test('proxy_ignore_client_abort on and on_client_abort: finish: the upstream completes, whatever nginx does then', async t => {
    const upstream = await lateUpstream(t)
    const gw = await startTestGateway(t, hopgate(upstream, 'on_client_abort: finish'))
    const nginx = await startNginx(t, gw.port, 'proxy_ignore_client_abort on;')
    await giveUp(nginx, 200)
    await (await upstream.nextRequest()).answered
    const line = await gw.line()
    assert.deepEqual([line.status, line.request_id], [200, nginx.entries()[0]?.requestId])
    const [tx, lost] = [line['tx_bytes'] as number, line['aborted_write_bytes'] as number]
    t.diagnostic(`hopgate: ${line.outcome}, ${tx} bytes written, ${lost} lost`)
    assert.equal(upstream.openSockets, 1, 'its connection is kept for the next request')
    await typicalAnswer(nginx.port)
    assert.equal(upstream.counters.connections, 1)
  })
})
