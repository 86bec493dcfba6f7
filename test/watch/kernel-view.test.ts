/** What the kernel says of our sockets, shown in the metrics: on real sockets, and on a real process. Linux only. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { LISTENER_SIDE } from '../../src/observe/kernel-metrics.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient, requestOnce } from '../../src/prove/raw-client.ts'
import { CloseWaitWatch } from '../../src/watch/close-wait.ts'
import { type InCloseWait, KernelView, type KernelViewOptions } from '../../src/watch/kernel-view.ts'
import { startProcess } from '../gateway/process.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

const skip = existsSync('/proc/self/net/netstat') ? false : 'SKIPPED: no /proc here'

/** Reads at every call. */
function viewOf(port: number, changes: Partial<KernelViewOptions> = {}): KernelView {
  const options = { listener: () => ({ address: '127.0.0.1', port }), backlog: 16, upstreams: [], closeWait: () => {} }
  return new KernelView({ ...options, intervalMs: 0, ...changes })
}

test('connections of clients and of the pool: counted by side and state; the ports towards an endpoint too', {
  skip,
}, async t => {
  const upstream = await startUpstream(({ path }) => (path === '/hang' ? { on: 'headers', then: 'hang' } : answer()))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const clients = await Promise.all(Array.from({ length: 3 }, () => openClient(gw.port)))
  for (const client of clients) client.request({ path: '/hang' })
  for (let n = 0; n < 3; n++) await upstream.nextRequest()
  const sockets = (side: string) => gw.metric('hopgate_sockets', { side, state: 'established' })
  assert.deepEqual([await sockets('_listener'), await sockets('up')], [3, 3])
  assert.equal(await gw.metric('hopgate_ephemeral_ports_used', { upstream: 'up' }), 3)
  assert.ok((await gw.metric('hopgate_ephemeral_ports')) > 1000)
  assert.equal(await gw.metric('hopgate_accept_queue_depth'), 0)
  assert.ok((await gw.metric('hopgate_accept_queue_limit')) > 0)
  const [open, most] = [await gw.metric('hopgate_fds_open'), await gw.metric('hopgate_fds_max')]
  assert.ok(open > 6 && open <= most, `${open} of ${most}`)
  assert.equal(await gw.metric('hopgate_kernel_view_skipped_total'), 0)
  for (const client of clients) client.leave('rst')
})

test('a listener on ::1, and an upstream on it: the IPv6 table is read as well', { skip }, async t => {
  const gw = await startTestGateway(t, { ...simple('http://[::1]:1'), address: '[::1]:0' }).catch(() => undefined)
  if (gw === undefined) {
    t.skip('SKIPPED: no ::1 here')
    return
  }
  const client = connect({ host: '::1', port: gw.port })
  await once(client, 'connect')
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(client, 'data')
  assert.equal(await gw.metric('hopgate_sockets', { side: '_listener', state: 'established' }), 1)
  client.destroy()
})

test("a connection that left from the listener's port, at another address: it is none of a client's", {
  skip,
}, async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, { ...simple(upstream.url), address: '127.0.0.2:0' })
  const stranger = connect({ host: '127.0.0.1', port: upstream.port, localAddress: '127.0.0.1', localPort: gw.port })
  await once(stranger, 'connect')
  const client = connect({ host: '127.0.0.2', port: gw.port })
  await once(client, 'connect')
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await upstream.nextRequest()
  const established = (side: string) => gw.metric('hopgate_sockets', { side, state: 'established' })
  assert.equal(await established('_listener'), 1)
  assert.equal(await established('up'), 2, 'its own connection, and the one of the stranger, who shares the endpoint')
  client.destroy()
  stranger.destroy()
})

test('more sockets than may be looked at: the table is left out, and that is counted', { skip }, async () => {
  const view = viewOf(1, { mostRows: 0 })
  await view.refresh()
  assert.equal(view.skipped, 1)
  assert.equal(view.reading?.sockets, null)
  assert.ok(view.reading?.listen !== null && view.reading?.descriptors !== null, 'what is cheap is read all the same')
})

test('asked again within the interval: the same reading', { skip }, async () => {
  const view = viewOf(1, { intervalMs: 60_000 })
  await view.refresh()
  const { reading } = view
  await view.refresh()
  assert.equal(view.reading, reading)
})

test('a burst against backlog 16 while the process stands still: the queue is full, and overflows are counted', {
  skip,
}, async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startProcess(t, { upstream: upstream.url, listen: ', backlog: 16' })
  const view = viewOf(gw.port)
  const look = async () => {
    await view.refresh()
    return { depth: view.reading?.sockets?.acceptQueue ?? -1, overflows: view.reading?.listen?.overflows ?? -1 }
  }
  const before = await look()
  gw.signal('SIGSTOP')
  const clients: RawClient[] = []
  const opening = Array.from({ length: 40 }, () =>
    openClient(gw.port).then(
      client => clients.push(client),
      () => {},
    ),
  )
  // The kernel takes one more than the backlog (sk_acceptq_is_full compares with >).
  await gw.until('17 wait, and the next are dropped', async () => {
    const { depth, overflows } = await look()
    return depth === 17 && overflows > before.overflows
  })
  assert.equal(before.depth, 0)
  gw.signal('SIGCONT')
  await gw.until('nobody waits', async () => (await look()).depth === 0)
  assert.equal(await gw.metric('hopgate_accept_queue_limit'), 16)
  assert.equal(await gw.metric('hopgate_accept_queue_depth'), 0)
  assert.ok((await gw.metric('hopgate_listen_overflows_total')) > before.overflows)
  assert.ok((await gw.metric('hopgate_listen_drops_total')) > 0)
  await Promise.all(opening)
  for (const client of clients) client.leave('rst')
})

test('500 uploads whose callers have left: CLOSE_WAIT in the gauge, and 0 afterwards', { skip }, async t => {
  const upstream = await startUpstream({ on: 'request', then: 'stop-reading' })
  t.after(() => upstream.close())
  const pool = ', pool: { max_connections: 20, queue: 1000 }'
  const gw = await startProcess(t, {
    upstream: upstream.url,
    route: ', timeouts: { queue: 1m, request: 2m, request_write: 1m }, limits: { in_flight: 1000 }',
    pool,
  })
  const closeWait = () => gw.metric('hopgate_sockets', { side: '_listener', state: 'close_wait' })
  const bytes = Buffer.alloc(400_000, 'u')
  /** They come, all are under way, they leave. @returns how many of them the gauge then shows in CLOSE_WAIT */
  const comeAndLeave = async (): Promise<number> => {
    const callers = await Promise.all(
      Array.from({ length: 500 }, async () => {
        const client = await openClient(gw.port)
        client.requestHead({ method: 'POST', path: '/', headers: [['Content-Length', String(bytes.length)]] })
        await client.sendUnlessGone(bytes)
        return client
      }),
    )
    await gw.until('all have begun', async () => (await gw.inflight()) === 500, 20_000)
    // While it is stopped it can close none of them, so that they are there when it looks.
    gw.signal('SIGSTOP')
    for (const client of callers) client.leave('fin')
    const view = viewOf(gw.port)
    await gw.until('the kernel has them', async () => {
      await view.refresh()
      return (view.reading?.sockets?.sides.get(LISTENER_SIDE)?.get('close_wait') ?? 0) > 50
    })
    const asked = closeWait()
    await delay(20)
    gw.signal('SIGCONT')
    return await asked
  }
  // The gateway looks for those who left twice a second: where it did so first, once more. A scrape looks at the kernel at
  // most every 5 s.
  let seen = 0
  for (let round = 0; round < 4 && seen === 0; round++) {
    if (round > 0) await delay(5100)
    seen = await comeAndLeave()
    t.diagnostic(`${seen} in CLOSE_WAIT right after they left`)
  }
  assert.ok(seen > 0, 'CLOSE_WAIT shows')
  await gw.until('none is left', async () => (await closeWait()) === 0, 30_000)
  assert.equal(await gw.inflight(), 0)
  upstream.behave(answer())
  assert.equal((await requestOnce(gw.port)).status, 200)
})

test('CLOSE_WAIT for longer than any deadline: reported once for each socket; one that went meanwhile is not', () => {
  const reports: object[] = []
  const watch = new CloseWaitWatch(1000, found => reports.push(found))
  const found = (...names: string[]): InCloseWait[] => names.map(name => ({ side: '_listener', name }))
  watch.look(found('a', 'b'), 0)
  watch.look(found('a', 'c'), 900)
  assert.deepEqual(reports, [])
  watch.look(found('a', 'b', 'c'), 1100)
  assert.deepEqual(reports, [{ side: '_listener', sockets: 1, forMs: 1100, names: ['a'] }])
  watch.look(found('a', 'b', 'c'), 2000)
  assert.equal(reports.length, 2, 'c; b was gone in between')
  watch.look(found('a'), 9000)
  assert.equal(reports.length, 2)
})
