/** Clients that read their response slowly, or not at all: `listen.timeouts.write_idle`, and who is blamed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Answer, answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { patternBytes } from '../../src/prove/wire.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { reaches, reads } from './waiting.ts'

/** No buffer on the way holds it. */
const LARGE_BYTES = 24 * 1024 * 1024
/** Far above what a busy machine adds, far below the next timeout. */
const NOISE_MS = 5000

/**
 * 600 KB/s. Node is told of a send buffer by thirds of up to 4 MB (sk_stream_is_writeable), here every 2.2 s: within
 * write_idle only the kernel's own count of what the client has acknowledged moves.
 */
const PACE = { bytesPerTick: 64 * 1024, tickMs: 110 }
const WRITE_IDLE_MS = 2000

test('clients that read a large body slowly, and take something in every write_idle: they get all of it', async t => {
  const framings = ['length', 'chunked', 'close'] as const
  const upstream = await startUpstream(({ path }) => {
    const framing = framings.find(name => path === `/${name}`) ?? 'length'
    return answer({ body: LARGE_BYTES, framing, chunkBytes: 64 * 1024 })
  })
  t.after(() => upstream.close())
  // Were the upstream's clock running while a client makes us wait, it would fire.
  const route = 'timeouts: { body_idle: 2s, request: 30s }'
  const listen = `  timeouts: { write_idle: ${WRITE_IDLE_MS}ms }`
  const gw = await startTestGateway(t, { ...simple(upstream.url, route), listen })
  const read = async (framing: string): Promise<void> => {
    const client = await openClient(gw.port)
    const pending = client.request({ path: `/${framing}` })
    client.readSlowly(PACE)
    await pending.bodyReached(40 * PACE.bytesPerTick)
    assert.ok(performance.now() - pending.sentAt > 1.5 * WRITE_IDLE_MS)
    client.resume()
    const response = await pending.response
    const outcome = gw.lines.find(line => line.path === `/${framing}`)?.outcome
    assert.ok(response.complete, `${framing}: ${outcome} after ${response.body.length} bytes`)
    assert.ok(response.body.equals(patternBytes(LARGE_BYTES)))
  }
  await Promise.all(framings.map(read))
  for (const _ of framings) {
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.status, line['tx_bytes']], ['completed', 200, LARGE_BYTES])
  }
  assert.equal(await gw.metric('hopgate_timeouts_total'), 0)
})

const ANSWERS: readonly (readonly [string, Answer])[] = [
  ['Content-Length', { body: LARGE_BYTES }],
  ['chunked', { body: LARGE_BYTES, framing: 'chunked' }],
]

for (const method of ['GET', 'POST']) {
  for (const [name, large] of ANSWERS) {
    test(`${method}: a client that never reads its large ${name} body: client_timeout, and its connection is destroyed`, async t => {
      const upstream = await startUpstream(answer(large))
      t.after(() => upstream.close())
      const route = 'timeouts: { body_idle: 300ms, request: 30s }'
      const listen = '  timeouts: { write_idle: 600ms }'
      const gw = await startTestGateway(t, { ...simple(upstream.url, route), listen })
      const client = await openClient(gw.port, { paused: true })
      client.request({ method, path: '/never', ...(method === 'POST' ? { body: 'x' } : {}) })
      const request = await upstream.nextRequest()
      await reaches(gw, '/never', 'client_write')
      const line = await gw.line()
      assert.equal((await request.connection.closed).how, 'rst')
      const took = line['t_total'] as number
      assert.ok(took >= 600 && took < 600 + NOISE_MS, `after ${took} ms`)
      // Read now, it finds its connection reset behind what its kernel had.
      client.resume()
      assert.equal((await client.closed).how, 'rst')
      assert.deepEqual(
        [line.outcome, line.stage, line.status, line.party],
        ['client_timeout', 'client_write', 200, 'client'],
      )
      const labels = { route: 'r', timeout: 'listen.timeouts.write_idle' }
      assert.equal(await gw.metric('hopgate_timeouts_total', labels), 1)
      assert.equal(await gw.metric('hopgate_timeouts_total'), 1, 'body_idle does not run while the client blocks')
      assert.equal(await gw.metric('hopgate_failures_total', { party: 'upstream' }), 0)
      const overrun = await gw.metric('hopgate_timeout_overrun_seconds_sum', { timeout: 'listen.timeouts.write_idle' })
      assert.ok(overrun < 0.5, `${overrun} s too late`)
      t.diagnostic(`write_idle fired ${(overrun * 1000).toFixed(1)} ms late`)
      await reads(gw, 0, 'hopgate_client_connections')
    })
  }
}

test('a client that half-closes and never reads: its connection does not outlive the exchange', async t => {
  const upstream = await startUpstream(answer({ body: LARGE_BYTES }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port, { paused: true })
  client.request({ path: '/half' })
  await reaches(gw, '/half', 'client_write')
  client.halfClose()
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'client_write', 200])
  assert.ok((line['aborted_write_bytes'] as number) > 0)
  client.resume()
  assert.equal((await client.closed).how, 'rst')
  await reads(gw, 0, 'hopgate_client_connections')
})

for (const how of ['fin', 'rst'] as const) {
  test(`a client that leaves by ${how} after a fully flushed response: completed, never client_abort`, async t => {
    const upstream = await startUpstream(answer({ body: 200_000 }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    for (const request of [{ path: '/get' }, { path: '/post', method: 'POST', body: 'x'.repeat(5000) }]) {
      const client = await openClient(gw.port)
      const response = await client.request(request).response
      client.leave(how)
      assert.equal(response.body.length, 200_000)
      assert.equal((await gw.line()).outcome, 'completed')
    }
    await reads(gw, 0, 'hopgate_client_connections')
    assert.equal(await gw.metric('hopgate_failures_total'), 0)
    assert.equal(await gw.metric('hopgate_requests_total', { outcome: 'completed', code: '200' }), 2)
  })
}
