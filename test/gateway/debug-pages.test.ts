/** The pages for the hour in which something hangs: who is stuck, what each timeout did, profiles of the process. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { isFromHere } from '../../src/watch/recorder.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startProcess } from './process.ts'

interface Stuck {
  readonly share: number
  readonly in_flight: number
  readonly stuck: number
  readonly overdue: number
  readonly stages: Record<string, { count: number; oldest_ms: number }>
  readonly exchanges: Record<string, unknown>[]
}

const stuck = async (gw: TestGateway, query = '') => (await gw.admin(`/-/stuck${query}`)).body as Stuck

test('/-/stuck: the exchanges that have used up their share of a timeout, by stage, the nearest to its end first', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, {
    upstreams: `  up: { endpoints: ["${upstream.url}"] }`,
    routes: [
      '  - { name: short, match: { path_prefix: /short }, upstream: up, timeouts: { response_headers: 20s, request: 40s } }',
      '  - { name: long, match: { path_prefix: /long }, upstream: up, timeouts: { response_headers: 1h, request: 2h } }',
    ].join('\n'),
  })
  assert.deepEqual(await stuck(gw), { share: 0.5, in_flight: 0, stuck: 0, overdue: 0, stages: {}, exchanges: [] })
  const clients = [await openClient(gw.port), await openClient(gw.port)]
  clients[0]?.request({ path: '/long/a?b=c' })
  await upstream.nextRequest()
  clients[1]?.request({ path: '/short/a?b=c' })
  await upstream.nextRequest()
  assert.deepEqual([(await stuck(gw)).in_flight, (await stuck(gw)).stuck], [2, 0])
  const all = await stuck(gw, '?share=0')
  assert.deepEqual(
    all.exchanges.map(({ route, stage, path, timeout, endpoint }) => [route, stage, path, timeout, endpoint]),
    [
      ['short', 'response_headers', '/short/a', 'response_headers', upstream.url],
      ['long', 'response_headers', '/long/a', 'response_headers', upstream.url],
    ],
  )
  assert.deepEqual(all.stages['response_headers']?.count, 2)
  const end = performance.now() + 20_000
  let page = await stuck(gw, '?share=0.02')
  while (page.stuck === 0 && performance.now() < end) {
    await delay(20)
    page = await stuck(gw, '?share=0.02')
  }
  const [only = {}] = page.exchanges
  assert.deepEqual([page.stuck, page.overdue, only['route']], [1, 0, 'short'])
  assert.ok((only['share'] as number) >= 0.02 && (only['left_ms'] as number) <= 19_600)
  assert.ok((only['age_ms'] as number) >= 400 && page.stages['response_headers']?.oldest_ms === only['age_ms'])
  for (const client of clients) client.leave('rst')
})

test('/-/effective: every timeout with its value, origin, how often and when last it fired, and the worst overrun', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, {
    ...simple(upstream.url, 'timeouts: { response_headers: 100ms, request: 5s, body_idle: off }'),
    listen: '  timeouts: { keepalive: 50ms }',
  })
  const client = await openClient(gw.port)
  const before = Date.now()
  assert.equal((await client.request().response).status, 504)
  await client.closed
  const page = (await gw.admin('/-/effective')).body as {
    connections: Record<string, unknown>[]
    routes: { name: string; timeouts: Record<string, unknown>[]; min_body_rate: unknown }[]
  }
  const shown = (timeouts: Record<string, unknown>[] = []) =>
    timeouts.map(({ name, ms, origin, fired }) => [name, ms, origin, fired])
  assert.deepEqual(shown(page.connections), [
    ['listen.timeouts.headers', 10_000, 'built-in', 0],
    ['listen.timeouts.keepalive', 50, 'listen', 1],
  ])
  const [route] = page.routes
  assert.deepEqual(shown(route?.timeouts), [
    ['listen.timeouts.body_idle', 10_000, 'built-in', 0],
    ['listen.timeouts.write_idle', 10_000, 'built-in', 0],
    ['queue', 1000, 'built-in', 0],
    ['connect', 2000, 'built-in', 0],
    ['request_write', 10_000, 'built-in', 0],
    ['response_headers', 100, 'routes[0]', 1],
    ['body_idle', 'off', 'routes[0]', 0],
    ['request', 5000, 'routes[0]', 0],
  ])
  const { last_fired, worst_overrun_ms } = route?.timeouts.find(({ name }) => name === 'response_headers') ?? {}
  assert.ok(Date.parse(String(last_fired)) >= before && (worst_overrun_ms as number) >= 0)
  assert.equal(route?.timeouts.find(({ name }) => name === 'request')?.['last_fired'], null)
  assert.deepEqual(route?.min_body_rate, { bytes_per_second: 240, fired: 0, last_fired: null })
})

test('/-/cpuprofile and /-/heapsnapshot: what Chrome DevTools opens, one at a time; requests are served meanwhile', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startProcess(t, { upstream: upstream.url })
  const admin = (path: string) => fetch(`http://127.0.0.1:${gw.adminPort}${path}`)
  const profiling = admin('/-/cpuprofile?seconds=1')
  await gw.until('one is taken', async () => (await admin('/-/heapsnapshot')).status === 409)
  const second = await admin('/-/cpuprofile?seconds=1')
  assert.deepEqual([second.status, await second.json()], [409, { error: 'a CPU profile is being taken' }])
  assert.equal((await requestOnce(gw.port)).status, 200)
  const profiled = await profiling
  assert.match(profiled.headers.get('content-disposition') ?? '', /^attachment; filename="hopgate-.*\.cpuprofile"$/)
  const profile = (await profiled.json()) as { nodes: object[]; samples: number[]; startTime: number; endTime: number }
  assert.ok(profile.nodes.length > 1 && profile.samples.length > 10)
  assert.ok(profile.endTime - profile.startTime >= 900_000, 'us')

  const taken = await admin('/-/heapsnapshot')
  assert.match(taken.headers.get('content-disposition') ?? '', /^attachment; filename="hopgate-.*\.heapsnapshot"$/)
  const heap = (await taken.json()) as { snapshot: { node_count: number }; strings: string[] }
  assert.ok(heap.snapshot.node_count > 10_000)
  assert.ok(heap.strings.includes('Exchange'))

  // Whoever leaves in the middle of a profile ends it.
  const leaving = new AbortController()
  const long = fetch(`http://127.0.0.1:${gw.adminPort}/-/cpuprofile?seconds=60`, { signal: leaving.signal }).catch(
    () => 0,
  )
  await gw.until('one is taken', async () => (await admin('/-/cpuprofile?seconds=1')).status === 409)
  leaving.abort()
  await long
  await gw.until('none is', async () => (await admin('/-/cpuprofile?seconds=1')).status === 200)
})

test('/-/heapsnapshot, which holds every secret: 403 to whoever is not on this machine, or was led here by a name', async t => {
  assert.ok(['127.0.0.1', '::1', '::ffff:127.0.0.1'].every(address => isFromHere(address, 'localhost:9464')))
  assert.ok(['127.0.0.1:9464', '[::1]:9464', 'localhost'].every(host => isFromHere('127.0.0.1', host)))
  for (const address of ['10.0.0.7', '::ffff:10.0.0.7', 'fe80::1', '']) assert.ok(!isFromHere(address, 'localhost'))
  const gw = await startTestGateway(t, simple('http://127.0.0.1:1'))
  for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example:9464', '10.0.0.7']) {
    const { status, body } = await requestOnce(gw.gateway.adminAddress.port, {
      path: '/-/heapsnapshot',
      headers: [['Host', host]],
    })
    assert.equal(status, 403, host)
    assert.match(body.toString(), /to this machine only, over loopback/)
  }
})

test('queries that make no sense: 400 that says what is allowed', async t => {
  const gw = await startTestGateway(t, simple('http://127.0.0.1:1'))
  const told = async (path: string) => {
    const { status, body } = await gw.admin(path)
    return [status, body]
  }
  for (const seconds of ['0', '61', 'x', '', '-1', 'NaN']) {
    assert.deepEqual(await told(`/-/cpuprofile?seconds=${seconds}`), [400, { error: 'seconds: allowed 1 to 60' }])
  }
  for (const share of ['1.1', '-0.1', 'half', '']) {
    assert.deepEqual(await told(`/-/stuck?share=${share}`), [400, { error: 'share: allowed 0 to 1' }])
  }
})
