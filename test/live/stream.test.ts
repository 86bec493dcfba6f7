/** The live page's files and its stream, without a browser. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { pageAssets } from '../../src/live/assets.ts'
import { eventOf, MOST_PAGES, Stream } from '../../src/live/stream.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { freePort } from '../gateway/process.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { type Heard, listen } from './page-stream.ts'

const adminOf = (gw: TestGateway): string => `http://127.0.0.1:${gw.gateway.adminAddress.port}`

/** Asks at every turn of the event loop; the test's own time limit is the bound. */
async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise(resolve => setImmediate(resolve))
}

interface Now {
  readonly routes: readonly (readonly number[])[]
  readonly fired: readonly (readonly number[])[]
  readonly in_flight: readonly Readonly<Record<string, unknown>>[]
}
const nowOf = ({ data }: Heard): Now => data as Now
/** Of the first route: how many ended. */
const endedOf = (now: Now): number => (now.routes[0] ?? []).slice(2).reduce((sum, count) => sum + count, 0)

test('the page: every file that it names is there, under 150 KB in all, and nothing of it comes from elsewhere', async t => {
  const gw = await startTestGateway(t, simple('http://127.0.0.1:1'))
  const seen = new Map<string, number>()
  const visit = async (path: string): Promise<void> => {
    if (seen.has(path)) return
    const response = await fetch(adminOf(gw) + path)
    const body = await response.text()
    assert.equal(response.status, 200, path)
    seen.set(path, Buffer.byteLength(body))
    const policy = response.headers.get('content-security-policy') ?? ''
    assert.ok(policy.startsWith("default-src 'none'") && !policy.includes('unsafe'), policy)
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
    if (path.endsWith('uplot.js')) return
    assert.doesNotMatch(body, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, path)
    if (!path.endsWith('.svg')) assert.doesNotMatch(body, /https?:\/\//, path)
    for (const [, file = ''] of body.matchAll(/(?:href|src)="(-\/live\/[^"]+)"/g)) await visit(`/${file}`)
    for (const [, file = ''] of body.matchAll(/from '\.\/([^']+)'/g)) await visit(`/-/live/${file}`)
    assert.doesNotMatch(body, /<script>|<style>| on\w+="| style="/, path)
  }
  await visit('/')
  const bytes = [...seen.values()].reduce((sum, size) => sum + size, 0)
  assert.ok(seen.size >= 10 && bytes < 150_000, `${seen.size} files, ${bytes} bytes`)
  t.diagnostic(`the page weighs ${bytes} bytes in ${seen.size} files`)
})

test('what `npm run build` leaves in dist has the page as well', async () => {
  const run = promisify(execFile)
  const options = { cwd: fileURLToPath(new URL('../..', import.meta.url)), timeout: 60_000 }
  await run('npm', ['run', '-s', 'build'], options)
  const look = "import('./dist/live/assets.js').then(m => process.stdout.write(String(m.pageAssets().length)))"
  const { stdout } = await run(process.execPath, ['-e', look], options)
  assert.equal(Number(stdout), pageAssets().length)
})

test('the stream: what is configured, how it stands, and each failure as the sentence that explain would tell', async t => {
  const upstream = await startUpstream(({ path }) => (path === '/ok' ? answer() : { on: 'headers', then: 'hang' }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { response_headers: 100ms }'))
  const heard = await listen(t, `${adminOf(gw)}/-/live`)
  assert.equal(heard.response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const { data } = await heard.until('hello', ({ name }) => name === 'hello')
  const hello = data as { version: string; timeouts: string[]; routes: { name: string; upstream: string | null }[] }
  assert.deepEqual(
    [hello.version, hello.routes.map(({ name, upstream: to }) => [name, to])],
    [
      'test',
      [
        ['r', 'up'],
        ['_none', null],
      ],
    ],
  )

  for (let n = 0; n < 3; n++) await requestOnce(gw.port, { path: '/ok' })
  for (let n = 0; n < 2; n++) await requestOnce(gw.port, { path: '/hang' })
  const after = nowOf(await heard.until('five ended', event => event.name === 'now' && endedOf(nowOf(event)) === 5))
  assert.deepEqual(after.routes[0]?.slice(2), [3, 0, 0, 0, 2, 0, 0])
  assert.equal(endedOf(after), await gw.metric('hopgate_requests_total', { route: 'r' }))
  const [[route, timeout, fired] = []] = after.fired
  assert.deepEqual([route, hello.timeouts[timeout ?? -1], fired], [0, 'response_headers', 2])

  const failure = await heard.until(
    'a failure',
    ({ name, data }) => name === 'failures' && (data as unknown[]).length > 0,
  )
  const [first] = failure.data as { text: string; route: string; outcome: string; status: number; request: string }[]
  assert.match(
    first?.text ?? '',
    /^up \(127\.0\.0\.1:\d+\) had the whole request and sent no headers within \d+ ms \(our limit: response_headers 100 ms\)\.$/,
  )
  assert.deepEqual([first?.route, first?.outcome, first?.status], ['r', 'response_headers_timeout', 504])
  assert.match(first?.request ?? '', /^GET .*\/hang$/)

  const late = await listen(t, `${adminOf(gw)}/-/live`)
  const told = await late.until('what failed before', ({ name }) => name === 'failures')
  assert.ok((told.data as unknown[]).length > 0, 'who comes later is told what failed before')
  await heard.until('a sample', ({ name }) => name === 'sample')
  const third = await listen(t, `${adminOf(gw)}/-/live`)
  const history = await third.until('the history', ({ name }) => name === 'history')
  const { times, routes } = history.data as { times: number[]; routes: { bands: (number[] | null)[] }[] }
  assert.ok(times.length > 0)
  const inHistory = (routes[0]?.bands ?? []).flatMap(counts => counts ?? []).reduce((sum, count) => sum + count, 0)
  assert.equal(inHistory, 5, 'the history holds what ended before the page was opened')
})

test('in flight: the oldest first, with stage, age and the timeout that is nearest', async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const clients = [await openClient(gw.port), await openClient(gw.port)]
  for (const [n, client] of clients.entries()) {
    client.request({ path: `/${n}/${'x'.repeat(3000)}` })
    await upstream.nextRequest()
  }
  const heard = await listen(t, `${adminOf(gw)}/-/live`)
  const now = nowOf(
    await heard.until('two in flight', event => event.name === 'now' && nowOf(event).in_flight.length === 2),
  )
  const [first, second] = now.in_flight
  assert.deepEqual([first?.['stage'], first?.['route'], first?.['endpoint']], ['response_headers', 'r', upstream.url])
  assert.ok((first?.['age_ms'] as number) >= (second?.['age_ms'] as number))
  assert.ok(['response_headers', 'request'].includes(first?.['timeout'] as string))
  const request = first?.['request'] as string
  assert.ok(request.startsWith('GET /0/x') && request.length < 300, 'a long path is clipped')
  for (const client of clients) client.leave('rst')
})

test('what clients write arrives as data, whatever it is, and is never more than a line', async t => {
  const gw = await startTestGateway(t, simple('http://127.0.0.1:1'))
  const heard = await listen(t, `${adminOf(gw)}/-/live`)
  await heard.until('hello', ({ name }) => name === 'hello')
  const client = await openClient(gw.port)
  await client.send('GET /<script>alert(1)</script>\u0001 HTTP/1.1\r\nHost: a"><b\r\n\r\nevent: now\ndata: {}\n\n')
  const { data } = await heard.until(
    'the failure',
    ({ name, data }) => name === 'failures' && (data as unknown[]).length > 0,
  )
  assert.equal((data as { outcome: string }[])[0]?.outcome, 'bad_request')
  assert.ok(heard.events.every(({ name, data }) => name !== 'now' || 'routes' in (data as object)))
  client.leave('rst')
})

test('more pages than are allowed: 503, and one that leaves makes room', async t => {
  const gw = await startTestGateway(t, simple('http://127.0.0.1:1'))
  const pages = await Promise.all(Array.from({ length: MOST_PAGES }, () => listen(t, `${adminOf(gw)}/-/live`)))
  assert.ok(pages.every(({ response }) => response.status === 200))
  const refused = await fetch(`${adminOf(gw)}/-/live`)
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '5'])
  pages[0]?.close()
  for (;;) {
    const again = await listen(t, `${adminOf(gw)}/-/live`)
    if (again.response.status === 200) break
  }
})

test('a page that does not read is let go when 4 MiB wait for it; one that reads gets all of it', async t => {
  const stream = new Stream()
  const server = createServer((_req, res) => stream.open(res, [], () => {}))
  t.after(() => {
    stream.close()
    server.close()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const idle = connect({ port, host: '127.0.0.1' })
  idle.on('error', () => {})
  idle.pause()
  t.after(() => idle.destroy())
  idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const reader = await listen(t, `http://127.0.0.1:${port}/`)
  await until(() => stream.pages === 2)
  let sent = 0
  while (stream.pages === 2) {
    sent++
    stream.send(eventOf('big', { sent, text: 'x'.repeat(256 * 1024) }))
    await reader.until(`number ${sent}`, ({ data }) => (data as { sent: number }).sent === sent)
    assert.ok(sent < 1000, 'what waits for a page that does not read has a bound')
  }
  assert.equal(stream.pages, 1, 'the one that reads is still there')
})

test('the gateway ends: so do the streams, and the next one has another boot', async t => {
  // A port that nobody else is given while the gateway is away.
  const spec = { ...simple('http://127.0.0.1:1'), admin: `127.0.0.1:${await freePort()}` }
  const gw = await startTestGateway(t, spec)
  const heard = await listen(t, `${adminOf(gw)}/-/live`)
  const bootOf = ({ data }: Heard) => (data as { boot: string }).boot
  const first = bootOf(await heard.until('hello', ({ name }) => name === 'hello'))
  // One that is connected and says nothing must not hold the end.
  const idle = connect(gw.gateway.adminAddress.port, '127.0.0.1')
  idle.on('error', () => {})
  t.after(() => idle.destroy())
  await gw.stop()
  await heard.ended
  const next = await startTestGateway(t, spec)
  const again = await listen(t, `${adminOf(next)}/-/live`)
  assert.notEqual(bootOf(await again.until('hello', ({ name }) => name === 'hello')), first)
})
