/** Aborts in number: what leaks one time in a thousand shows here. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { eventually, reads, spread } from './waiting.ts'

const ABORTS = 1000

const openDescriptors = (): number => readdirSync('/proc/self/fd').length

test(`${ABORTS} clients leave one after the other while we await headers: ${ABORTS} client_abort, and no socket is left`, async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { max_connections: 4 }'))
  const delays: number[] = []
  const abort = async (n: number): Promise<void> => {
    const client = await openClient(gw.port)
    client.request({ path: `/${n}`, ...(n % 2 === 0 ? {} : { method: 'POST', body: 'a small body' }) })
    const request = await upstream.nextRequest()
    const left = performance.now()
    client.leave(n % 4 < 2 ? 'fin' : 'rst')
    const end = await request.connection.closed
    assert.equal(end.how, 'rst')
    delays.push(end.at - left)
    await client.closed
  }
  // The first opens what stays open: the admin's connections, the logs of a test runner.
  await abort(0)
  await reads(gw, 1, 'hopgate_requests_total', { code: '499', outcome: 'client_abort' })
  await eventually('the first client is closed', async () => (await gw.metric('hopgate_client_connections')) === 0)
  const before = openDescriptors()
  for (let n = 1; n < ABORTS; n++) await abort(n)
  await upstream.allClosed(100)
  await reads(gw, ABORTS, 'hopgate_requests_total', { code: '499', outcome: 'client_abort' })
  assert.equal(await gw.metric('hopgate_requests_total'), ABORTS)
  assert.equal(await gw.metric('hopgate_client_abort_age_seconds_count'), ABORTS)
  await reads(gw, ABORTS, 'hopgate_upstream_cancel_seconds_count')
  assert.equal(gw.lines.length, ABORTS)
  // A client that left by FIN closes its descriptor 100 ms later.
  await eventually(`${before} descriptors as before`, async () => openDescriptors() <= before)
  t.diagnostic(`abort to close, ${ABORTS} in a row: ${spread(delays)}`)
})
