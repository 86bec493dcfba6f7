/** The watchdog thread, on real processes whose event loop stands still. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient, requestOnce } from '../../src/prove/raw-client.ts'
import { freePort, type GatewayProcess, runCli, startProcess, writeConfig } from '../gateway/process.ts'

const BUSY = fileURLToPath(new URL('./busy.mjs', import.meta.url))

interface Scene {
  readonly gw: GatewayProcess
  readonly upstream: Upstream
  /** Its request has been at the upstream since before the loop was held. */
  readonly client: RawClient
  /** The status of `/healthz` at the watchdog's own listener, and its text. */
  health(): Promise<{ status: number; text: string }>
}

async function sceneOf(t: TestContext, how: string, watchdog: string): Promise<Scene> {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const port = await freePort()
  const gw = await startProcess(t, {
    upstream: upstream.url,
    route: ', timeouts: { response_headers: 1m, request: 2m }',
    nodeArgs: ['--import', `${BUSY}?${how}`],
    rest: `watchdog: { ${watchdog}, address: "127.0.0.1:${port}" }`,
  })
  const client = await openClient(gw.port)
  client.request({ path: '/oldest' })
  await upstream.nextRequest()
  // The main thread has told the watchdog of it by then.
  await gw.until('it is old', async () => (await gw.metric('hopgate_oldest_inflight_seconds')) > 0.5)
  const health = async () => {
    const response = await requestOnce(port, { path: '/healthz' })
    return { status: response.status, text: response.body.toString() }
  }
  return { gw, upstream, client, health }
}

const said = (gw: GatewayProcess, what: string) => () => gw.stderr().includes(what)

/** The lines that the watchdog has written, parsed. */
function linesOf(gw: GatewayProcess): Record<string, unknown>[] {
  return gw
    .stderr()
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>)
}

// Side by side: they wait for their processes, and not for the machine.
describe('the watchdog', { concurrency: 2 }, () => {
  test('a handler that is busy for 5 s: its stack and the oldest exchange on stderr, 503 at the watchdog, and back', async t => {
    const { gw, upstream, client, health } = await sceneOf(t, 'js,5000', 'stall: 2s')
    await gw.until('200 at the watchdog', async () => (await health()).status === 200)
    gw.signal('SIGUSR2')
    await gw.until('busy', said(gw, 'busy'))
    await gw.until('the line', said(gw, 'stands still'))
    const { status, text } = await health()
    assert.ok(!gw.stderr().includes('free'), 'all of it while the loop stood still')
    assert.equal(status, 503)
    assert.match(text, /"failing".*the event loop has not turned for \d+ ms/)
    const [line = {}] = linesOf(gw)
    assert.deepEqual([line['level'], line['msg']], ['error', 'the event loop stands still'])
    const stalledMs = line['stalled_ms'] as number
    assert.ok(stalledMs >= 2000, `${stalledMs}`)
    t.diagnostic(`told ${stalledMs} ms after the last beat`)
    const stack = line['stack'] as string[]
    assert.match(stack[0] ?? '', /^handlerThatDoesNotReturn \(file:.*busy\.mjs.*:\d+:\d+\)$/)
    const [oldest] = line['oldest'] as Record<string, unknown>[]
    assert.deepEqual(
      [oldest?.['route'], oldest?.['stage'], oldest?.['endpoint']],
      ['r', 'response_headers', upstream.url],
    )
    assert.ok((oldest?.['age_ms'] as number) >= stalledMs)
    await gw.until('free', said(gw, 'free'))
    await gw.until('200 at the watchdog', async () => (await health()).status === 200)
    assert.equal(linesOf(gw).length, 1, 'one line for one stall')
    assert.equal(await gw.metric('hopgate_event_loop_stalls_total'), 1)
    assert.equal(await gw.metric('hopgate_event_loop_stall_seconds_count'), 1)
    assert.ok((await gw.metric('hopgate_event_loop_stall_seconds_sum')) >= 4)
    assert.equal(await gw.metric('hopgate_watchdog_up'), 1)
    const utilization = await gw.metric('hopgate_event_loop_utilization')
    assert.ok(utilization >= 0 && utilization <= 1, `${utilization}`)
    // It goes on as if nothing had been.
    client.leave('rst')
    upstream.behave(answer())
    assert.equal((await requestOnce(gw.port)).status, 200)
    gw.signal('SIGTERM')
    assert.equal((await gw.exited).code, 0)
  })

  test('held in native code: the line says so in place of the stack, and the process goes on unharmed', async t => {
    const { gw, upstream, client } = await sceneOf(t, 'native,5000', 'stall: 500ms')
    gw.signal('SIGUSR2')
    await gw.until('the line', said(gw, 'stands still'))
    assert.ok(!gw.stderr().includes('free'))
    assert.match(String(linesOf(gw)[0]?.['stack']), /^not to be had: the main thread is in native code/)
    await gw.until('free', said(gw, 'free'))
    client.leave('rst')
    upstream.behave(answer())
    assert.equal((await requestOnce(gw.port)).status, 200)
  })

  test('watchdog.kill: a process that never comes back ends with exit code 70, and says so', async t => {
    const { gw } = await sceneOf(t, 'js,Infinity', 'stall: 300ms, kill: 1s')
    gw.signal('SIGUSR2')
    assert.deepEqual([(await gw.exited).code, (await gw.exited).signal], [70, null])
    assert.deepEqual(
      linesOf(gw).map(line => line['msg']),
      ['the event loop stands still', 'the event loop stands still: the process ends with exit code 70'],
    )
  })

  test('watchdog.kill while it is in native code: nothing can be run in it, so it is killed', async t => {
    const { gw } = await sceneOf(t, 'native,20000', 'stall: 300ms, kill: 600ms')
    gw.signal('SIGUSR2')
    const { signal } = await gw.exited
    assert.equal(signal, 'SIGKILL')
    assert.ok(!gw.stderr().includes('free'))
  })

  test('a process that was stopped, and not its loop: no stall', async t => {
    const { gw, health } = await sceneOf(t, 'js,0', 'stall: 500ms')
    gw.signal('SIGSTOP')
    await new Promise(resolve => setTimeout(resolve, 1200))
    gw.signal('SIGCONT')
    assert.equal((await health()).status, 200)
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.deepEqual(linesOf(gw), [])
    assert.equal(await gw.metric('hopgate_event_loop_stalls_total'), 0)
  })

  test('watchdog.address that is taken: the process does not start, and says which address', async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const config = writeConfig(
      t,
      [
        'listen: { address: "127.0.0.1:0" }',
        'admin: { address: "127.0.0.1:0" }',
        `watchdog: { address: "127.0.0.1:${upstream.port}" }`,
        `upstreams: { up: { endpoints: ["${upstream.url}"] } }`,
        'routes: [{ name: r, match: { path_prefix: / }, upstream: up }]',
      ].join('\n'),
    )
    const { code, stderr } = await runCli(t, ['run', '-c', config])
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`cannot start: .*EADDRINUSE.*127\\.0\\.0\\.1:${upstream.port}`))
  })
})
