/** SIGTERM, step by step, at a process of its own: red but serving, then closed but finishing, then cut. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { slack } from '../upstream/support.ts'
import { folderOf, type GatewayProcess, startProcess } from './process.ts'

interface Started {
  readonly upstream: Upstream
  readonly gw: GatewayProcess
  readonly lines: () => Record<string, unknown>[]
}

/** `/hang` hangs, `/half` hangs in mid-body, all else is answered. */
async function start(t: TestContext, drain: string): Promise<Started> {
  const upstream = await startUpstream(({ path }) => {
    if (path === '/hang') return { on: 'headers', then: 'hang' }
    return path === '/half' ? { on: 'body', then: 'hang', afterBytes: 1000 } : answer()
  })
  t.after(() => upstream.close())
  const log = join(folderOf(t), 'log')
  const route = ', timeouts: { request: off, response_headers: 60s, body_idle: 60s }'
  const gw = await startProcess(t, { upstream: upstream.url, route, drain, rest: `log: { destination: "${log}" }` })
  const lines = () =>
    readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
  return { upstream, gw, lines }
}

const access = (lines: Record<string, unknown>[], path: string) =>
  lines.find(line => line['msg'] === 'request' && line['path'] === path)

describe('draining', { concurrency: 3 }, () => {
  test('during drain.delay readyz is 503, and everything is served with Connection: close; then dials are refused', async t => {
    const { upstream, gw, lines } = await start(t, '{ delay: 1500ms, deadline: 5s }')
    const [old, hung] = [await openClient(gw.port), await openClient(gw.port)]
    const before = await old.request({ path: '/before' }).response
    assert.deepEqual([before.status, before.header('connection')?.toLowerCase()], [200, 'keep-alive'])
    const hanging = hung.request({ path: '/hang' })
    await upstream.nextRequest()
    const request = await upstream.nextRequest()

    const sentAt = performance.now()
    gw.signal('SIGTERM')
    await gw.until('readyz 503', async () => (await gw.ready()) === 503)
    const onOld = await old.request({ path: '/old' }).response
    assert.deepEqual([onOld.status, onOld.header('connection')], [200, 'close'])
    const onNew = await requestOnce(gw.port, { path: '/new' })
    assert.deepEqual([onNew.status, onNew.header('connection')], [200, 'close'])
    assert.ok(performance.now() - sentAt < 1500, 'all of this within drain.delay')

    await gw.until('dials refused', () =>
      openClient(gw.port).then(
        client => {
          client.leave('rst')
          return false
        },
        () => true,
      ),
    )
    assert.ok(performance.now() - sentAt >= 1500)
    assert.equal(gw.child.exitCode, null, 'it waits for what is in flight')
    await request.answer({ body: 'at last' })
    const response = await hanging.response
    assert.deepEqual([response.status, response.body.toString(), response.complete], [200, 'at last', true])
    const { code, at } = await gw.exited
    assert.equal(code, 0)
    assert.ok(at - response.doneAt < slack(1500), `${at - response.doneAt} ms after the last exchange`)
    assert.equal(access(lines(), '/hang')?.['outcome'], 'completed')
  })

  test('what is left at drain.deadline is cut as drain_killed: 503 before headers, a truncation after', async t => {
    const { upstream, gw, lines } = await start(t, '{ delay: 10ms, deadline: 500ms }')
    const [hung, half, post] = [await openClient(gw.port), await openClient(gw.port), await openClient(gw.port)]
    const hanging = hung.request({ path: '/hang' })
    const halved = half.request({ path: '/half' })
    const posted = post.request({ method: 'POST', path: '/hang', body: 1000 })
    await halved.bodyReached(1000)
    for (let n = 0; n < 3; n++) await upstream.nextRequest()
    const sentAt = performance.now()
    gw.signal('SIGTERM')
    for (const response of [await hanging.response, await posted.response]) {
      assert.deepEqual([response.status, response.header('connection')], [503, 'close'])
      assert.equal((JSON.parse(response.body.toString()) as Record<string, unknown>)['outcome'], 'drain_killed')
      assert.ok(response.doneAt - sentAt >= 510)
    }
    const cut = await halved.response
    assert.deepEqual([cut.status, cut.complete, cut.body.length], [200, false, 1000])
    await upstream.allClosed()
    const { code, at } = await gw.exited
    assert.equal(code, 0)
    assert.ok(at - sentAt < 510 + slack(2000), `drain + 2 s: ${at - sentAt} ms`)
    const [first, second] = [access(lines(), '/hang'), access(lines(), '/half')]
    assert.deepEqual(
      [first?.['outcome'], first?.['status'], first?.['stage'], first?.['party']],
      ['drain_killed', 503, 'response_headers', 'gateway'],
    )
    assert.deepEqual(
      [second?.['outcome'], second?.['status'], second?.['stage']],
      ['drain_killed', 200, 'response_body'],
    )
  })

  for (const [when, drain] of [
    ['during drain.delay', '{ delay: 30s, deadline: 30s }'],
    ['while it finishes what is in flight', '{ delay: 10ms, deadline: 30s }'],
  ] as const) {
    test(`a second signal ${when} cuts at once`, async t => {
      const { upstream, gw, lines } = await start(t, drain)
      const client = await openClient(gw.port)
      const pending = client.request({ path: '/hang' })
      await upstream.nextRequest()
      gw.signal('SIGTERM')
      await gw.until('readyz 503', async () => (await gw.ready()) === 503)
      const secondAt = performance.now()
      // Again and again: one that follows the first at once is taken for the same.
      const insisting = setInterval(() => gw.signal('SIGINT'), 100)
      const response = await pending.response.finally(() => clearInterval(insisting))
      assert.deepEqual([response.status, response.header('connection')], [503, 'close'])
      const { code, at } = await gw.exited
      assert.equal(code, 0)
      assert.ok(at - secondAt < slack(2000), `${at - secondAt} ms`)
      assert.equal(access(lines(), '/hang')?.['outcome'], 'drain_killed')
    })
  }

  test('a signal that comes twice at once (from the terminal, and from npm that passes it on) is one', async t => {
    const { upstream, gw } = await start(t, '{ delay: 10ms, deadline: 30s }')
    const client = await openClient(gw.port)
    const pending = client.request({ path: '/hang' })
    const request = await upstream.nextRequest()
    gw.signal('SIGINT')
    gw.signal('SIGTERM')
    await gw.until('readyz 503', async () => (await gw.ready()) === 503)
    await request.answer()
    assert.equal((await pending.response).status, 200)
    assert.equal((await gw.exited).code, 0)
  })

  test('a client that keeps its idle connection open does not hold up the end', async t => {
    const { gw } = await start(t, '{ delay: 10ms, deadline: 10s }')
    const client = await openClient(gw.port)
    assert.equal((await client.request().response).status, 200)
    const sentAt = performance.now()
    gw.signal('SIGTERM')
    const { code, at } = await gw.exited
    assert.deepEqual([code, (await client.closed).how], [0, 'fin'])
    assert.ok(at - sentAt < slack(2000), `${at - sentAt} ms`)
  })
})
