/** The event loop is held past a timeout: what already sits in the socket counts, and is no 504 (stack fact 32). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { slack } from './support.ts'

/** An upstream with an event loop of its own: 60 ms after a request it writes what it is told to. */
const UPSTREAM = `
const { parentPort, workerData } = require('node:worker_threads')
const server = require('node:net').createServer(socket => {
  socket.on('error', () => {})
  socket.on('data', () => {
    parentPort.postMessage('request')
    if (workerData.first !== '') socket.write(workerData.first)
    if (workerData.then !== '') setTimeout(() => socket.write(workerData.then), 60)
  })
})
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
`

async function startThread(t: TestContext, first: string, then: string): Promise<{ worker: Worker; port: number }> {
  const worker = new Worker(UPSTREAM, { eval: true, execArgv: [], workerData: { first, then } })
  t.after(() => worker.terminate())
  const [port] = (await once(worker, 'message')) as [number]
  return { worker, port }
}

function hold(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

const head = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'
const cases = [
  { timeout: 'response_headers', first: '', then: `${head}ok` },
  { timeout: 'body_idle', first: `${head}o`, then: 'k' },
  { timeout: 'request', first: '', then: `${head}ok` },
  { timeout: 'request', first: `${head}o`, then: 'k' },
] as const

for (const { timeout, first, then } of cases) {
  const during = first === '' ? 'while headers are awaited' : 'in mid-body'
  const route = `timeouts: { ${timeout}: 200ms${timeout === 'request' ? '' : ', request: off'} }`

  for (const method of ['GET', 'POST']) {
    const request = method === 'GET' ? {} : { method, body: 10 }

    test(`${method}: the loop stalls past ${timeout} ${during}, and the rest sits in the socket: 200, no timeout`, async t => {
      const { worker, port } = await startThread(t, first, then)
      const gw = await startTestGateway(t, simple(`http://127.0.0.1:${port}`, route))
      const client = await openClient(gw.port)
      const pending = client.request(request)
      await (first === '' ? once(worker, 'message') : pending.bodyReached(1))
      hold(350)
      const { status, body, complete } = await pending.response
      client.leave('rst')
      assert.deepEqual([status, body.toString(), complete], [200, 'ok', true])
      assert.equal((await gw.line()).outcome, 'completed')
      assert.equal(await gw.metric('hopgate_timeouts_total'), 0)
    })
  }

  test(`the loop stalls past ${timeout} ${during}, and nothing has come: it fires at once afterwards, and says how late`, async t => {
    const { worker, port } = await startThread(t, first, '')
    const gw = await startTestGateway(t, simple(`http://127.0.0.1:${port}`, route))
    const client = await openClient(gw.port)
    const pending = client.request()
    await (first === '' ? once(worker, 'message') : pending.bodyReached(1))
    hold(400)
    const heldUntil = performance.now()
    const { doneAt } = await pending.response
    client.leave('rst')
    assert.ok(doneAt - heldUntil < slack(150), `${doneAt - heldUntil} ms after the stall`)
    const outcome = timeout === 'request' ? 'deadline_exceeded' : `${timeout}_timeout`
    assert.equal((await gw.line()).outcome, outcome)
    const overrun = await gw.metric('hopgate_timeout_overrun_seconds_sum', { timeout })
    assert.ok(overrun > 0.1 && overrun < slack(0.5), `overrun ${overrun} s`)
  })
}
