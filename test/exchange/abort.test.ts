import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

for (const how of ['fin', 'rst'] as const) {
  test(`a client that leaves by ${how} while we await headers: the upstream's socket is reset at once`, async t => {
    const upstream = await startUpstream({ on: 'headers', then: 'hang' })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    client.request({ path: '/x' })
    const request = await upstream.nextRequest()
    const left = performance.now()
    client.leave(how)
    const end = await request.connection.closed
    assert.equal(end.how, 'rst')
    assert.ok(end.at - left < 250, `took ${end.at - left} ms`)
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.party],
      ['client_abort', 'response_headers', 499, 'client'],
    )
    assert.equal(await gw.metric('hopgate_requests_total', { code: '499', outcome: 'client_abort' }), 1)
  })
}
