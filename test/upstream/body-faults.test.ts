/** What can go wrong once response headers were sent to the client: it must be able to see that the body is not whole. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import type { Answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { type FaultCase, faultTests } from './support.ts'

const idle = 'timeouts: { body_idle: 200ms }'
const framings = ['length', 'chunked', 'close'] as const
const cut = (outcome: string, cutAfter: number) => ({ outcome, stage: 'response_body', status: 200, cutAfter })

/** Small, and above what one read of a socket brings. */
const sizes = [1000, 150_000]

const cases: FaultCase[] = []
for (const framing of framings) {
  for (const afterBytes of sizes) {
    const body: Answer = { body: 1024 * 1024, framing }
    const what = `of a ${framing} body of 1 MiB after ${afterBytes} bytes`
    cases.push({
      name: `silence in the midst ${what}`,
      fault: { on: 'body', then: 'hang', afterBytes, answer: body },
      route: idle,
      expect: { ...cut('body_idle_timeout', afterBytes), timeout: 'body_idle' },
    })
    cases.push({
      name: `a rst in the midst ${what}`,
      fault: { on: 'body', then: 'rst', afterBytes, answer: body },
      expect: { ...cut('reset', afterBytes), code: 'ECONNRESET' },
    })
    // A close-delimited body that ends in a FIN is whole.
    if (framing === 'close') continue
    cases.push({
      name: `a fin in the midst ${what}`,
      fault: { on: 'body', then: 'fin', afterBytes, answer: body },
      expect: { ...cut('truncated', afterBytes), code: 'HOPGATE_ENDED' },
    })
  }
}
cases.push(
  {
    name: 'headers and no body at all',
    fault: { on: 'body', then: 'hang' },
    route: idle,
    expect: { ...cut('body_idle_timeout', 0), timeout: 'body_idle' },
  },
  {
    name: 'a body that lacks its last chunk only, then a fin',
    fault: { on: 'body', then: 'fin', afterBytes: 1000, answer: { body: 1000, framing: 'chunked' } },
    expect: { ...cut('truncated', 1000), code: 'HOPGATE_ENDED' },
  },
  {
    name: 'a chunked body that is cut, announced by Connection: close',
    fault: { on: 'body', then: 'fin', afterBytes: 1000, answer: { body: 2000, framing: 'chunked', keepAlive: false } },
    expect: { ...cut('truncated', 1000), code: 'HOPGATE_ENDED' },
  },
  {
    name: 'a fin short of Content-Length by one byte, announced by Connection: close',
    fault: { on: 'body', then: 'fin', afterBytes: 999, answer: { body: 1000, keepAlive: false } },
    expect: { ...cut('truncated', 999), code: 'HOPGATE_ENDED' },
  },
  {
    name: 'a chunk whose size is no number',
    fault: { on: 'body', then: 'garbage', afterBytes: 1000, answer: { body: 100_000, chunkBytes: 1000 } },
    expect: { ...cut('protocol_error', 1000), code: 'HOPGATE_NOT_HTTP' },
  },
)
faultTests(cases)

test('the RST of a close-delimited body arrives in one piece with its last data: cut 20 times of 20, never a clean end', async t => {
  const accepted = new EventEmitter()
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf')
      accepted.emit('request', socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const gw = await startTestGateway(t, simple(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
  for (let round = 0; round < 20; round++) {
    const client = await openClient(gw.port)
    const request = once(accepted, 'request') as Promise<[Socket]>
    const pending = client.request({ path: '/a' })
    const [socket] = await request
    await pending.bodyReached(4)
    // In one turn of the event loop that the gateway shares: both are there when it looks.
    socket.write(' and a half')
    socket.resetAndDestroy()
    const response = await pending.response
    assert.deepEqual([response.status, response.complete], [200, false])
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.party], ['reset', 'response_body', 'upstream'])
  }
})

const drips: readonly { name: string; answer: Answer }[] = [
  { name: 'with Content-Length', answer: { body: 10 } },
  { name: 'chunked', answer: { body: 10, framing: 'chunked' } },
  { name: 'close-delimited', answer: { body: 10, framing: 'close' } },
]
for (const { name, answer } of drips) {
  test(`a body that drips, ${name}, each byte well before body_idle: it restarts each time, and the body is whole`, async t => {
    const pace = { bytesPerTick: 1, tickMs: 50 }
    const upstream = await startUpstream({ on: 'body', then: 'drip', pace, answer })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, idle))
    const client = await openClient(gw.port)
    const response = await client.request({ path: '/a' }).response
    client.leave('rst')
    assert.deepEqual([response.status, response.body.length, response.complete], [200, 10, true])
    const line = await gw.line()
    assert.equal(line.outcome, 'completed')
    assert.ok((line['t_response_body'] as number) > 400, 'twice the body_idle timeout')
    assert.equal(await gw.metric('hopgate_timeouts_total'), 0)
  })
}
