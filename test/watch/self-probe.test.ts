/** The gateway's call to itself: real connections through the listener, no client's in any book, and /healthz its verdict. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { SelfProbe } from '../../src/watch/self-probe.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'

const OFTEN = '{ interval: 20ms, timeout: 5s, fail_after: 2 }'

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + 20_000
  while (!(await holds())) {
    assert.ok(performance.now() < end, `not within 20 s: ${what}`)
    await delay(10)
  }
}

const probes = (gw: TestGateway, result: string) => gw.metric('hopgate_selfprobes_total', { result })

for (const address of ['127.0.0.1:0', '0.0.0.0:0']) {
  test(`listening on ${address}: probes are answered and counted as _selfprobe, and are no client's in any other number`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, { ...simple(upstream.url), address, selfprobe: OFTEN })
    await until('20 probes', async () => (await probes(gw, 'ok')) >= 20)
    assert.equal((await requestOnce(gw.port)).status, 200)
    const own = await gw.metric('hopgate_requests_total', { route: '_selfprobe', code: '204', outcome: 'completed' })
    assert.ok(own >= 20)
    const { body } = await gw.admin('/metrics')
    const routes = [...String(body).matchAll(/^hopgate_requests_total\{route="(\w+)".*\} (\d+)$/gm)]
    assert.deepEqual(routes.map(([, route]) => route).sort(), ['_selfprobe', 'r'])
    assert.equal(await gw.metric('hopgate_requests_total', { route: 'r' }), 1)
    assert.equal(await gw.metric('hopgate_client_connections_total'), 1)
    assert.ok((await gw.metric('hopgate_client_connections')) <= 1)
    assert.equal(await gw.metric('hopgate_failures_total'), 0)
    assert.deepEqual([await gw.metric('hopgate_selfprobe_up'), await probes(gw, 'failed')], [1, 0])
    assert.ok((await gw.metric('hopgate_selfprobe_duration_seconds_count')) >= 20)
    assert.equal((await gw.admin('/healthz')).status, 200)
    assert.deepEqual(
      gw.lines.map(({ route }) => route),
      ['r'],
    )
    assert.equal(upstream.counters.requests, 1)
  })
}

test('log.level debug: a probe has an access line, and its path in it is not the true one', async t => {
  const gw = await startTestGateway(t, {
    ...simple('http://127.0.0.1:1'),
    selfprobe: OFTEN,
    rest: 'log: { level: debug }\ndrain: { delay: 10ms, deadline: 2s }',
  })
  const line = await gw.line()
  assert.deepEqual([line.route, line.path, line.status, line.outcome], ['_selfprobe', '/_selfprobe', 204, 'completed'])
})

test('a client that asks for the very path of the probe gets what any unknown path gets', async t => {
  let path = ''
  t.mock.method(SelfProbe.prototype, 'start', function (this: SelfProbe) {
    path = this.path
  })
  const gw = await startTestGateway(t, {
    upstreams: '  up: { endpoints: ["http://127.0.0.1:1"] }',
    routes: '  - { name: r, match: { path_prefix: /api }, upstream: up }',
    selfprobe: OFTEN,
  })
  assert.match(path, /^\/_selfprobe\/[0-9a-f]{32}$/)
  const told = async (asked: string) => {
    const { status, headers, body } = await requestOnce(gw.port, { path: asked })
    const line = await gw.line()
    const names = headers.map(([name]) => name)
    return [status, names, body.toString().replace(/"request_id":"[^"]*"/, ''), line.route, line.outcome]
  }
  assert.deepEqual(await told(path), await told('/_selfprobe/0123456789abcdef0123456789abcdef'))
})

test('at max_connections: the probe is turned away without being called a failure, or a client', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, { ...simple(upstream.url), listen: '  max_connections: 2', selfprobe: OFTEN })
  const clients = [await openClient(gw.port), await openClient(gw.port)]
  for (const client of clients) assert.equal((await client.request().response).status, 200)
  await until('5 are turned away', async () => (await probes(gw, 'refused_limit')) >= 5)
  const counted = (result: string) => gw.metric('hopgate_client_connections_total', { result })
  assert.deepEqual([await counted('accepted'), await counted('refused_limit')], [2, 0])
  assert.deepEqual([await probes(gw, 'failed'), (await gw.admin('/healthz')).status], [0, 200])
  for (const client of clients) client.leave('fin')
  const answered = await probes(gw, 'ok')
  await until('it is let in again', async () => (await probes(gw, 'ok')) > answered)
})

test('probes that are answered wrongly: /healthz 503 after fail_after of them, one line in the log, and 200 again after one success', async t => {
  // As a client's, its connection is not let through to its route.
  const owns = t.mock.method(SelfProbe.prototype, 'owns', () => false)
  const gw = await startTestGateway(t, { ...simple('http://127.0.0.1:1'), selfprobe: OFTEN })
  await until('/healthz is red', async () => (await gw.admin('/healthz')).status === 503)
  const { body } = await gw.admin('/healthz')
  assert.deepEqual(body, {
    status: 'failing',
    reasons: ['the self-probe fails: answered "HTTP/1.1 404 Not Found"'],
  })
  assert.ok((await probes(gw, 'failed')) >= 2)
  assert.equal(await gw.metric('hopgate_selfprobe_up'), 0)
  owns.mock.restore()
  await until('/healthz is green', async () => (await gw.admin('/healthz')).status === 200)
  assert.deepEqual(
    gw.events.map(event => [event['level'], event['msg']]).filter(([, msg]) => String(msg).includes('self-probe')),
    [
      ['error', 'the self-probe fails: /healthz is 503'],
      ['info', 'the self-probe succeeds again'],
    ],
  )
})

test('a listener that accepts and says nothing, then one that is gone: each failure has its name', async t => {
  const held: Socket[] = []
  const silent = createServer(socket => held.push(socket.on('error', () => {})))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const at = silent.address() as AddressInfo
  const changes: string[] = []
  const probe = new SelfProbe({
    config: { intervalMs: 20, timeoutMs: 50, failAfter: 2 },
    listener: () => at,
    changed: (up, why) => changes.push(`${up} ${why}`),
  })
  t.after(() => probe.stop())
  // The probe's own handles are unreferenced: it holds no process.
  const alive = setInterval(() => {}, 1000)
  t.after(() => clearInterval(alive))
  probe.start()
  await until('two have failed', () => changes.length > 0)
  assert.deepEqual([changes, probe.up], [['false no answer within 50 ms'], false])
  for (const socket of held) socket.destroy()
  silent.close()
  await until('it is refused', () => probe.why === 'ECONNREFUSED')
  assert.equal(changes.length, 1, 'the verdict was given')
})

test('a drain: the probe ends with the listener, and what it can no longer reach is no failure', async t => {
  const gw = await startTestGateway(t, { ...simple('http://127.0.0.1:1'), selfprobe: OFTEN })
  await until('a probe', async () => (await probes(gw, 'ok')) > 0)
  await gw.gateway.drain()
  await delay(100)
  assert.deepEqual([await probes(gw, 'failed'), (await gw.admin('/healthz')).status], [0, 200])
})
