/** Floods and drips: the gateway stays in bounds, calls each what it is, and serves everybody else. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { type GatewaySpec, simple, startTestGateway, type TestGateway } from '../support/gateway.ts'

const MIB = 1024 * 1024
/** Kernel buffers are not ours; what Node holds for a few hundred connections is below this by far. */
const BOUND_BYTES = 96 * MIB

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

interface Ground {
  readonly upstream: Upstream
  readonly gateway: TestGateway
  /** A client that behaves is served, and soon. */
  serves(): Promise<void>
}

/** Paths below /ok are answered at once, whatever befalls the others. */
async function ground(t: TestContext, spec: (url: string) => GatewaySpec, upstream: Upstream): Promise<Ground> {
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, spec(upstream.url))
  return {
    upstream,
    gateway,
    serves: async () => {
      const response = await requestOnce(gateway.port, { path: '/ok' }, { timeoutMs: 5000 })
      assert.equal(response.status, 200)
    },
  }
}

test('200 clients that never end their headers: 408 each, and others are served', async t => {
  const listen = '  timeouts: { headers: 500ms }'
  const { gateway, serves } = await ground(t, url => ({ ...simple(url), listen }), await startUpstream(answer()))
  const slow = await Promise.all(Array.from({ length: 200 }, () => openClient(gateway.port)))
  const pending = slow.map(client => client.expect())
  const drips = slow.map(client =>
    client.drip(`GET / HTTP/1.1\r\nX: ${'y'.repeat(500)}`, { bytesPerTick: 1, tickMs: 50 }),
  )
  await serves()
  const responses = await Promise.all(pending.map(({ response }) => response))
  assert.deepEqual([...new Set(responses.map(({ status }) => status))], [408])
  await Promise.all(drips)
  assert.equal(await gateway.metric('hopgate_client_connections_total', { result: 'header_timeout' }), 200)
})

test('100 uploads of a byte now and then: client_timeout each, and no upstream keeps waiting', async t => {
  const listen = '  min_body_rate: { rate: 1KiB/s, grace: 300ms }'
  const { gateway, serves, upstream } = await ground(
    t,
    url => ({ ...simple(url), listen }),
    await startUpstream(answer()),
  )
  const head = { method: 'POST', headers: [['Content-Length', '100000']] } as const
  const slow = await Promise.all(Array.from({ length: 100 }, () => openClient(gateway.port)))
  const pending = slow.map(client => client.requestHead(head))
  const drips = slow.map(client => client.drip('x'.repeat(200), { bytesPerTick: 1, tickMs: 20 }))
  await serves()
  const responses = await Promise.all(pending.map(({ response }) => response))
  assert.deepEqual([...new Set(responses.map(({ status }) => status))], [408])
  await Promise.all(drips)
  assert.equal(
    await gateway.metric('hopgate_failures_total', { outcome: 'client_timeout', stage: 'request_body' }),
    100,
  )
  await delay(100)
  assert.ok(upstream.openSockets <= 1, `${upstream.openSockets} connections are still open`)
})

test('20 clients that read nothing of 64 MiB each: bounded memory, cut at write_idle, and others are served', async t => {
  const listen = '  timeouts: { write_idle: 500ms }'
  const large = answer({ body: 64 * MIB })
  const upstream = await startUpstream(request => (request.path === '/ok' ? answer() : large))
  const { gateway, serves } = await ground(t, url => ({ ...simple(url), listen }), upstream)
  const before = process.memoryUsage().rss
  const sockets = await Promise.all(Array.from({ length: 20 }, () => dial(gateway.port)))
  for (const socket of sockets) {
    socket.pause()
    socket.write('GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n')
  }
  let peak = before
  for (let i = 0; i < 20; i++) {
    peak = Math.max(peak, process.memoryUsage().rss)
    await delay(20)
  }
  await serves()
  for (let i = 0; i < 20; i++) {
    const { outcome, stage } = await nextBut(gateway, '/ok')
    assert.deepEqual({ outcome, stage }, { outcome: 'client_timeout', stage: 'client_write' })
  }
  assert.ok(peak - before < 2 * BOUND_BYTES, `grew by ${Math.round((peak - before) / MIB)} MiB`)
  for (const socket of sockets) socket.destroy()
})

async function nextBut(gateway: TestGateway, path: string): Promise<{ outcome: string; stage?: string }> {
  for (;;) {
    const line = await gateway.line()
    if (line.path !== path) return line
  }
}

test('connections above max_connections are closed and counted, and those below it served', async t => {
  const listen = '  max_connections: 50'
  const { gateway } = await ground(t, url => ({ ...simple(url), listen }), await startUpstream(answer()))
  const early = await openClient(gateway.port)
  const flood = await Promise.all(Array.from({ length: 300 }, () => dial(gateway.port)))
  await Promise.all(flood.slice(49).map(socket => (socket.destroyed ? undefined : once(socket.resume(), 'close'))))
  assert.equal((await early.request().response).status, 200)
  assert.equal(await gateway.metric('hopgate_client_connections_total', { result: 'refused_limit' }), 251)
  assert.equal(await gateway.metric('hopgate_client_connections'), 50)
  for (const socket of flood) socket.destroy()
  await delay(50)
  assert.equal((await requestOnce(gateway.port)).status, 200)
})

test('requests above in_flight are refused at once, and another route is not touched', async t => {
  const upstream = await startUpstream(request => (request.path === '/ok' ? answer() : { on: 'headers', then: 'hang' }))
  const { gateway, serves } = await ground(
    t,
    url => ({
      upstreams: `  up: { endpoints: ["${url}"] }`,
      routes: `  - { name: ok, match: { path: /ok }, upstream: up }\n  - { name: r, match: { path_prefix: / }, upstream: up, limits: { in_flight: 10 }, timeouts: { request: 1s, response_headers: 500ms } }`,
    }),
    upstream,
  )
  const flood = await Promise.all(Array.from({ length: 200 }, () => requestOnce(gateway.port, { path: '/hang' })))
  const count = (status: number): number => flood.filter(response => response.status === status).length
  assert.deepEqual([count(503), count(504)], [190, 10])
  await serves()
})

test('chunks without end: 413 while they stream, the upstream cancelled', async t => {
  const { gateway, serves, upstream } = await ground(
    t,
    url => simple(url, 'limits: { body: 1MiB }'),
    await startUpstream(answer()),
  )
  const client = await openClient(gateway.port)
  const pending = client.requestHead({ method: 'POST', headers: [['Transfer-Encoding', 'chunked']] })
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  for (let i = 0; i < 200 && client.ended === undefined; i++) await client.sendUnlessGone(chunk)
  assert.equal((await pending.response).status, 413)
  const request = await upstream.nextRequest()
  assert.equal((await request.connection.closed).how, 'rst')
  assert.ok(!request.isUploadComplete)
  await serves()
})

test('1xx answers without end: response_headers_timeout, the client told of a few', async t => {
  const endless = { on: 'headers', then: 'interim', status: 103, count: 'endless', everyMs: 1 } as const
  const upstream = await startUpstream(request => (request.path === '/ok' ? answer() : endless))
  const { gateway, serves } = await ground(t, url => simple(url, 'timeouts: { response_headers: 500ms }'), upstream)
  const pending = requestOnce(gateway.port, { path: '/hints' })
  await serves()
  const response = await pending
  assert.equal(response.status, 504)
  assert.ok(response.interim.length <= 16, `${response.interim.length} interim responses`)
})

test('response headers without end: 502 after a bounded number of bytes', async t => {
  const line = Buffer.from(`X-Fill: ${'y'.repeat(1000)}\r\n`.repeat(64))
  let written = 0
  const bomb = createServer(socket => {
    const more = (): void => {
      while (!socket.destroyed && socket.write(line)) written += line.length
    }
    socket.on('error', () => {})
    socket.on('drain', more)
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n')
      more()
    })
  })
  await once(bomb.listen(0, '127.0.0.1'), 'listening')
  t.after(() => bomb.close())
  const gateway = await startTestGateway(t, simple(`http://127.0.0.1:${(bomb.address() as AddressInfo).port}`))
  const responses = await Promise.all(Array.from({ length: 10 }, () => requestOnce(gateway.port)))
  assert.deepEqual([...new Set(responses.map(({ status }) => status))], [502])
  // Ten times what the kernel's buffers hold, at most 6 MiB each on loopback.
  assert.ok(written < 10 * 8 * MIB, `${Math.round(written / MIB)} MiB were taken`)
})

test('2000 idle connections: bounded memory, all closed by keepalive, no descriptor left', async t => {
  const listen = '  timeouts: { keepalive: 3s, headers: 3s }'
  const { gateway, serves } = await ground(t, url => ({ ...simple(url), listen }), await startUpstream(answer()))
  const descriptorsBefore = descriptors()
  const before = process.memoryUsage().rss
  const closed: Promise<unknown>[] = []
  for (let i = 0; i < 20; i++) {
    const clients = await Promise.all(Array.from({ length: 100 }, () => dial(gateway.port)))
    closed.push(...clients.map(client => once(client, 'close')))
    const answered = clients.map(client => once(client, 'data'))
    for (const client of clients) client.write('GET /ok HTTP/1.1\r\nHost: a.example\r\n\r\n')
    await Promise.all(answered)
  }
  await serves()
  await Promise.all(closed)
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < BOUND_BYTES * 2, `grew by ${Math.round(grown / MIB)} MiB`)
  await delay(100)
  assert.equal(await gateway.metric('hopgate_client_connections'), 0)
  assert.ok(descriptors() - descriptorsBefore < 200, `${descriptors() - descriptorsBefore} more descriptors`)
  await serves()
})

test('1000 pipelined requests in one segment: at most a bounded number is taken', async t => {
  const { gateway, serves, upstream } = await ground(t, url => simple(url), await startUpstream(answer()))
  const socket = await dial(gateway.port)
  socket.resume()
  socket.write('GET /pipelined HTTP/1.1\r\nHost: a.example\r\n\r\n'.repeat(1000))
  await delay(300)
  await serves()
  const most = Math.max(...upstream.connections.map(({ index }) => index))
  assert.ok(most < 8, `${most} upstream connections for one client`)
  socket.destroy()
})
