/** Nothing from outside can throw in the gateway; should something all the same, the process says so and drains. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { slack } from '../upstream/support.ts'
import { type GatewayProcess, startProcess } from './process.ts'

/** A bug on demand: no request can cause one, so a signal does. */
const BUG = {
  uncaughtException: 'process.on("SIGUSR2", () => { throw new Error("a bug") })',
  unhandledRejection: 'process.on("SIGUSR2", () => { Promise.reject(new Error("a bug")) })',
}

async function finishing(gw: GatewayProcess): Promise<void> {
  await gw.until('readyz 503', async () => (await gw.ready()) === 503)
}

for (const [kind, code] of Object.entries(BUG)) {
  const nodeArgs = ['--import', `data:text/javascript,${encodeURIComponent(code)}`]

  test(`${kind}: one line on stderr, what is in flight is finished, then exit 1`, async t => {
    const upstream = await startUpstream({ on: 'headers', then: 'hang' })
    t.after(() => upstream.close())
    const gw = await startProcess(t, { upstream: upstream.url, nodeArgs, drain: '{ delay: 200ms, deadline: 5s }' })
    const client = await openClient(gw.port)
    const pending = client.request()
    const request = await upstream.nextRequest()
    gw.signal('SIGUSR2')
    await finishing(gw)
    await request.answer({ body: 'finished' })
    assert.equal((await pending.response).body.toString(), 'finished')
    const ended = await gw.exited
    assert.equal(ended.code, 1)
    assert.match(gw.stderr(), new RegExp(`^hopgate: ${kind}: Error: a bug \\|[^\\n]*\\n$`))
  })

  test(`a second ${kind} while draining: exit 1 at once`, async t => {
    const gw = await startProcess(t, {
      upstream: 'http://127.0.0.1:1',
      nodeArgs,
      drain: '{ delay: 30s, deadline: 30s }',
    })
    gw.signal('SIGUSR2')
    await finishing(gw)
    const sentAt = performance.now()
    gw.signal('SIGUSR2')
    const ended = await gw.exited
    assert.equal(ended.code, 1)
    assert.ok(ended.at - sentAt < slack(1500))
    assert.equal(gw.stderr().trimEnd().split('\n').length, 2)
  })
}
