/** A real browser: headless Chromium, its WebSocket and its EventSource, through the gateway. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startBackend, until } from './support.ts'

/** Debian's. */
const CHROMIUM = '/usr/bin/chromium'
const skip = existsSync(CHROMIUM) ? false : `SKIPPED: there is no ${CHROMIUM}, so no browser has seen this`

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

interface Stage {
  readonly gw: TestGateway
  readonly page: Page
  readonly streams: ServerResponse[]
  /** Kills the backend of WebSockets and starts another where it was. */
  restart(): Promise<void>
}

/** `/` is a page, `/events` a stream, `/tunnel` and `/relay` echo; all through the gateway, of one origin. */
async function begin(t: TestContext): Promise<Stage> {
  const streams: ServerResponse[] = []
  const pages = createServer((req, res) => {
    if (req.url === '/events') {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      res.flushHeaders()
      streams.push(res)
    } else {
      res.writeHead(200, { 'content-type': 'text/html' })
      res.end('<!doctype html><title>test</title>')
    }
  })
  pages.listen(0, '127.0.0.1')
  await once(pages, 'listening')
  t.after(() => {
    pages.closeAllConnections()
    pages.close()
  })
  const pagesUrl = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`
  const backend = await startBackend(t, { compress: true, protocols: () => 'chat' })
  const gw = await startTestGateway(t, {
    upstreams: `  pages: { endpoints: ["${pagesUrl}"] }\n  sockets: { endpoints: ["${backend.url}"] }`,
    routes: [
      '  - { name: pages, match: { path_prefix: / }, upstream: pages }',
      '  - { name: events, match: { path: /events }, upstream: pages, streaming: true }',
      '  - { name: tunnel, match: { path: /tunnel }, upstream: sockets, websocket: {} }',
      '  - name: relay',
      '    match: { path: /relay }',
      '    upstream: sockets',
      '    websocket: { mode: relay, max_message: 16MiB, max_buffered: 16MiB, reconnect: { attempts: 200, backoff: 20ms, max_backoff: 50ms } }',
    ].join('\n'),
  })
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-browser-'))
  const context: BrowserContext = await chromium.launchPersistentContext(folder, {
    executablePath: CHROMIUM,
    args: ARGS,
    timeout: 60_000,
  })
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  const page = await context.newPage()
  // tsx has functions carry their names by a helper of its own, which a page does not have.
  await page.addInitScript('globalThis.__name = named => named')
  await page.goto(gw.url)
  closeFirst.set(t, context)
  const restart = async (): Promise<void> => {
    await backend.kill()
    await startBackend(t, { compress: true, protocols: () => 'chat', port: backend.port })
  }
  return { gw, page, streams, restart }
}

const closeFirst = new WeakMap<TestContext, BrowserContext>()

/** The browser leaves before the hooks of the test wait for the gateway to be quiet. */
async function withBrowser(t: TestContext, act: (stage: Stage) => Promise<void>): Promise<void> {
  try {
    await act(await begin(t))
  } finally {
    await closeFirst.get(t)?.close()
  }
}

/** What runs in the page: echoes of these sizes, text and binary; then a goodbye. */
async function echoes(page: Page, path: string, sizes: readonly number[]) {
  return page.evaluate(
    async ([url, lengths]) => {
      const ws = new WebSocket(url, ['chat'])
      ws.binaryType = 'arraybuffer'
      await new Promise((resolve, reject) => {
        ws.onopen = resolve
        ws.onerror = () => reject(new Error('no connection'))
      })
      const next = () =>
        new Promise<string | ArrayBuffer>(resolve => {
          ws.onmessage = ({ data }) => resolve(data)
        })
      const wrong: string[] = []
      for (const length of lengths) {
        const text = 'x'.repeat(length)
        const textBack = next()
        ws.send(text)
        if ((await textBack) !== text) wrong.push(`text ${length}`)
        const bytes = new Uint8Array(length).map((_, i) => i * 7)
        const bytesBack = next()
        ws.send(bytes)
        const got = new Uint8Array((await bytesBack) as ArrayBuffer)
        if (got.length !== length || got.some((byte, i) => byte !== bytes[i])) wrong.push(`binary ${length}`)
      }
      const { protocol, extensions } = ws
      const closed = new Promise<{ code: number; reason: string; wasClean: boolean }>(resolve => {
        ws.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean })
      })
      ws.close(4321, 'bye')
      return { wrong, protocol, extensions, closed: await closed }
    },
    [path, sizes] as const,
  )
}

const SIZES = [0, 1, 125, 126, 65_535, 65_536, 8 * 1024 * 1024]

test('WebSocket in Chromium, tunnel and relay: echoes, subprotocol, extensions, close codes', { skip }, t =>
  withBrowser(t, async ({ gw, page }) => {
    for (const mode of ['tunnel', 'relay']) {
      const seen = await echoes(page, `${gw.url.replace('http', 'ws')}/${mode}`, SIZES)
      assert.deepEqual(seen.wrong, [])
      assert.equal(seen.protocol, 'chat')
      // Compression is between the two ends of a tunnel; a relay has none.
      assert.equal(seen.extensions.includes('permessage-deflate'), mode === 'tunnel')
      assert.deepEqual(seen.closed, { code: 4321, reason: 'bye', wasClean: true })
      await until('its line', () => gw.lines.some(({ route }) => route === mode))
      const line = gw.lines.find(({ route }) => route === mode)
      assert.deepEqual(
        [line?.outcome, line?.['websocket'], line?.['closed_by'], line?.['close_code']],
        ['tunnel_closed', mode, 'client', 4321],
      )
    }
    // A route without websocket: the browser sees a failed connection, nothing hangs.
    const refused = await page.evaluate(
      url =>
        new Promise<number>(resolve => {
          new WebSocket(url).onclose = ({ code }) => resolve(code)
        }),
      `${gw.url.replace('http', 'ws')}/`,
    )
    assert.equal(refused, 1006)
    assert.ok(gw.lines.some(({ outcome, status }) => outcome === 'upgrade_failed' && status === 426))
  }),
)

test('a relayed browser does not notice that the backend restarts', { skip }, t =>
  withBrowser(t, async ({ gw, page, restart }) => {
    await page.evaluate(
      url => {
        const state = { heard: [] as string[], closed: false, ws: new WebSocket(url, ['chat']) }
        Object.assign(globalThis, { state })
        state.ws.onmessage = ({ data }) => state.heard.push(data)
        state.ws.onclose = () => {
          state.closed = true
        }
        return new Promise(resolve => {
          state.ws.onopen = resolve
        })
      },
      `${gw.url.replace('http', 'ws')}/relay`,
    )
    const say = (word: string) => page.evaluate(text => globalThis.state.ws.send(text), word)
    const heard = () => page.evaluate(() => globalThis.state.heard)
    await say('before')
    await until('the echo', async () => (await heard()).includes('before'))
    const restarted = restart()
    await say('meanwhile')
    await restarted
    await until('the echo of what was said meanwhile', async () => (await heard()).includes('meanwhile'))
    assert.equal(await page.evaluate(() => globalThis.state.closed), false)
  }),
)

test('a tab that is closed: the tunnel ends, and its slot is free', { skip }, t =>
  withBrowser(t, async ({ gw, page }) => {
    await page.evaluate(
      url =>
        new Promise(resolve => {
          const ws = new WebSocket(url, ['chat'])
          Object.assign(globalThis, { kept: ws })
          ws.onopen = resolve
        }),
      `${gw.url.replace('http', 'ws')}/tunnel`,
    )
    assert.equal(await gw.metric('hopgate_websocket_connections', { route: 'tunnel' }), 1)
    await page.close()
    await until('its end', async () => (await gw.metric('hopgate_websocket_connections')) === 0)
    const line = gw.lines.find(({ route }) => route === 'tunnel')
    assert.deepEqual([line?.outcome, line?.['closed_by']], ['tunnel_closed', 'client'])
    assert.equal(await gw.metric('hopgate_pool_connections', { upstream: 'sockets', state: 'active' }), 0)
  }),
)

test('EventSource in Chromium: events as they come, and the connection again when it is cut', { skip }, t =>
  withBrowser(t, async ({ gw, page, streams }) => {
    await page.evaluate(url => {
      const events: string[] = []
      const source = new EventSource(url)
      source.onmessage = ({ data, lastEventId }) => events.push(`${lastEventId} ${data}`)
      Object.assign(globalThis, { events, source })
      return new Promise(resolve => {
        source.onopen = resolve
      })
    }, `${gw.url}/events`)
    const events = () => page.evaluate(() => globalThis.events)
    streams[0]?.write('retry: 50\nid: 7\ndata: one\n\n')
    await until('the event', async () => (await events()).length === 1)
    streams[0]?.destroy()
    await until('it is back', () => streams.length === 2)
    assert.equal(streams[1]?.req.headers['last-event-id'], '7')
    streams[1]?.write('id: 8\ndata: two\n\n')
    await until('the next event', async () => (await events()).length === 2)
    assert.deepEqual(await events(), ['7 one', '8 two'])
    await page.evaluate(() => globalThis.source.close())
    await until('the stream is closed', () => streams[1]?.destroyed === true)
  }),
)

declare global {
  // What the pages of these tests keep; `var` is how a property of globalThis is declared.
  var state: { heard: string[]; closed: boolean; ws: WebSocket }
  var events: string[]
  var source: EventSource
}
