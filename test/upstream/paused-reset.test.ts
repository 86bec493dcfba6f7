import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

// On Node 20 a RST that comes while reading is paused looks like a clean end, which for a close-delimited body is how it is
// complete. And what a parser throws from a socket event is an uncaught exception: one upstream could end the gateway.
for (const framing of ['close', 'length', 'chunked'] as const) {
  for (const bytes of [20_000, 8_000_000]) {
    test(`a client that does not read, and an upstream that resets after ${bytes} bytes of a ${framing} body: reset, and the gateway lives`, async t => {
      const answer = { body: bytes * 2, framing, keepAlive: false }
      const upstream = await startUpstream({ on: 'body', then: 'rst', afterBytes: bytes, answer })
      t.after(() => upstream.close())
      const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { body_idle: 2s }'))
      const client = await openClient(gw.port, { paused: true })
      const pending = client.request({ path: '/' })
      await upstream.allClosed()
      client.resume()
      const response = await pending.response.catch((error: Error) => error)
      assert.ok(response instanceof Error || !response.complete, 'a truncated response never ends cleanly')
      const line = await gw.line()
      assert.equal(line.outcome, 'reset')
      upstream.behave({ on: 'request', then: 'answer' })
      const next = await openClient(gw.port)
      assert.equal((await next.request({ path: '/' }).response).status, 200)
      next.leave('fin')
    })
  }
}
