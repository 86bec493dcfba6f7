/** The log of a real process meets every kind of destination: requests are answered, and the process ends in time. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { answer, type LogFault } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { slack } from '../upstream/support.ts'
import { folderOf, type GatewayProcess, startProcess } from './process.ts'

const CLIENTS = 20
const REQUESTS = 2000

/** Sends them over twenty connections; all must be answered. @returns the p99 in ms */
async function p99Of(gw: GatewayProcess): Promise<number> {
  const times: number[] = []
  const one = async (): Promise<void> => {
    const client = await openClient(gw.port)
    for (let n = 0; n < REQUESTS / CLIENTS; n++) {
      const response = await client.request({ path: `/${n}` }).response
      assert.deepEqual([response.status, response.complete], [200, true])
      times.push(response.doneAt - response.sentAt)
    }
    client.leave('fin')
  }
  await Promise.all(Array.from({ length: CLIENTS }, one))
  return times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0
}

async function start(t: TestContext, rest: string, log?: LogFault): Promise<GatewayProcess> {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  return startProcess(t, { upstream: upstream.url, rest }, log)
}

describe('the log of a process', { concurrency: 1 }, () => {
  test('stdout is a pipe that nobody reads: 2000 requests are answered, none slower than usual, and the exit is on time', async t => {
    const usual = await start(t, `log: { destination: "${join(folderOf(t), 'log')}" }`)
    await p99Of(usual)
    const usualP99 = await p99Of(usual)
    usual.signal('SIGTERM')
    await usual.exited

    const gw = await start(t, 'log: { buffer: 256KiB }', { on: 'log', then: 'hang' })
    await p99Of(gw)
    // The better of two: what else the machine does is not the log's doing.
    const stalledP99 = Math.min(await p99Of(gw), await p99Of(gw))
    t.diagnostic(
      `p99 of ${REQUESTS} requests: ${usualP99.toFixed(1)} ms with a file, ${stalledP99.toFixed(1)} ms stalled`,
    )
    // The promise is twice; what is asserted leaves room for a machine that does something else besides.
    assert.ok(stalledP99 < usualP99 * 4 + slack(50), `p99 ${stalledP99} ms, usually ${usualP99} ms`)
    const dropped = await gw.metric('hopgate_log_dropped_total', { class: 'access' })
    assert.ok(dropped > 0, 'what was not kept is counted')
    assert.equal(await gw.metric('hopgate_log_dropped_total', { class: 'event' }), 0, 'access lines go first')
    assert.equal(await gw.metric('hopgate_requests_total', { outcome: 'completed' }), 3 * REQUESTS)
    await gw.until('hopgate_log_sink_up 0', async () => (await gw.metric('hopgate_log_sink_up')) === 0)
    const sentAt = performance.now()
    gw.signal('SIGTERM')
    const { code, at } = await gw.exited
    assert.equal(code, 0)
    assert.ok(at - sentAt < 10 + slack(2000), `drain.delay + 2 s: ${at - sentAt} ms`)
  })

  test('a reader that comes back: the sink is up again, and the lines that it gets are whole', async t => {
    const gw = await start(t, 'log: { buffer: 256KiB }', { on: 'log', then: 'hang' })
    await p99Of(gw)
    await gw.until('hopgate_log_sink_up 0', async () => (await gw.metric('hopgate_log_sink_up')) === 0)
    let text = ''
    await gw.until('hopgate_log_sink_up 1', async () => {
      text += gw.reader?.readNow() ?? ''
      return (await gw.metric('hopgate_log_sink_up')) === 1
    })
    await requestOnce(gw.port, { path: '/marker' })
    await gw.until('the line of /marker', () => {
      text += gw.reader?.readNow() ?? ''
      return text.includes('/marker"')
    })
    for (const line of text.trimEnd().split('\n')) assert.doesNotThrow(() => JSON.parse(line), line)
  })

  const broken: readonly { what: string; fault: LogFault }[] = [
    { what: 'a pipe whose reader is gone (EPIPE)', fault: { on: 'log', then: 'close' } },
    { what: 'a full device (ENOSPC)', fault: { on: 'log', then: 'full' } },
  ]
  for (const { what, fault } of broken) {
    test(`stdout is ${what}: requests are answered, the sink is down, and the exit is clean and on time`, async t => {
      const gw = await start(t, '', fault)
      for (let n = 0; n < 20; n++) assert.equal((await requestOnce(gw.port)).status, 200)
      await gw.until('hopgate_log_sink_up 0', async () => (await gw.metric('hopgate_log_sink_up')) === 0)
      const sentAt = performance.now()
      gw.signal('SIGTERM')
      const { code, at } = await gw.exited
      assert.deepEqual([code, gw.stderr()], [0, ''])
      assert.ok(at - sentAt < 10 + slack(2000), `drain.delay + 2 s: ${at - sentAt} ms`)
    })
  }

  test('a log file that was moved away: SIGHUP begins a new one, no line is lost', async t => {
    const log = join(folderOf(t), 'log')
    const gw = await start(t, `log: { destination: "${log}" }`)
    const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')
    await requestOnce(gw.port, { path: '/before' })
    await gw.until('the line of /before', () => textOf(log).includes('"path":"/before"'))
    renameSync(log, `${log}.1`)
    await requestOnce(gw.port, { path: '/between' })
    await gw.until('the line of /between', () => textOf(`${log}.1`).includes('"path":"/between"'))
    gw.signal('SIGHUP')
    await gw.until('a new file', () => existsSync(log))
    await requestOnce(gw.port, { path: '/after' })
    await gw.until('the line of /after', () => textOf(log).includes('"path":"/after"'))
    assert.ok(!textOf(log).includes('/before') && !textOf(`${log}.1`).includes('/after'))
    gw.signal('SIGTERM')
    assert.equal((await gw.exited).code, 0)
    assert.ok(textOf(log).includes('"msg":"stopped"'), 'the last line is written before the exit')
  })
})
