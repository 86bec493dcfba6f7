/** The live page in a browser: true, alive, harmless, and for everybody. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Page } from 'playwright-core'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { freePort } from '../gateway/process.ts'
import { type GatewaySpec, simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { type Browser, barriers, openBrowser, openPage, withoutBrowser } from './browser.ts'

const adminOf = (gw: TestGateway): string => `http://127.0.0.1:${gw.gateway.adminAddress.port}/`

/** The text of a cell: of a table, in the row of this key. */
const cell = (page: Page, table: string, key: string, column: string) =>
  page.locator(`#${table} tr[data-key="${key}"] [data-column="${column}"]`)

/** Waits until a locator reads so. */
async function reads(page: Page, table: string, key: string, column: string, wanted: string): Promise<void> {
  const at = cell(page, table, key, column)
  await at.filter({ hasText: new RegExp(`^${wanted}$`) }).waitFor({ state: 'attached' })
}

describe('the live page in Chromium', { skip: withoutBrowser }, () => {
  let browser: Browser
  before(async () => {
    browser = await openBrowser()
  })
  after(() => browser?.close())

  test('its values are those of /metrics, it outlives its gateway, and axe-core finds nothing in it, dark or light', async t => {
    const upstream = await startUpstream(({ path }) => (path === '/ok' ? answer() : { on: 'headers', then: 'hang' }))
    t.after(() => upstream.close())
    // A port that nobody else is given while the gateway is away.
    const admin = `127.0.0.1:${await freePort()}`
    const spec = { ...simple(upstream.url, 'timeouts: { response_headers: 150ms }'), admin }
    const gw = await startTestGateway(t, spec)
    const { page, complaints } = await openPage(browser, adminOf(gw))
    t.after(() => page.close())
    for (let n = 0; n < 4; n++) await requestOnce(gw.port, { path: '/ok' })
    for (let n = 0; n < 3; n++) await requestOnce(gw.port, { path: '/hang' })
    await requestOnce(gw.port, { path: '/nowhere', headers: [['Host', 'a b']] }).catch(() => undefined)
    const leaving = await openClient(gw.port)
    leaving.request({ path: '/hang' })
    await upstream.nextRequest()
    leaving.leave('rst')

    const total = (code: string) => gw.metric('hopgate_requests_total', { route: 'r', code })
    while ((await total('499')) !== 1);
    await reads(page, 'routes-table', 'r', 'total', '8')
    await reads(page, 'routes-table', 'r', '504', String(await total('504')))
    await reads(page, 'routes-table', 'r', '499', '1')
    assert.equal(await gw.metric('hopgate_requests_total', { route: 'r' }), 8)
    await reads(
      page,
      'routes-table',
      '_none',
      'total',
      String(await gw.metric('hopgate_requests_total', { route: '_none' })),
    )
    const fired = await cell(page, 'timeouts-table', 'r', 'response_headers').getAttribute('data-fired')
    assert.equal(Number(fired), await gw.metric('hopgate_timeouts_total', { route: 'r', timeout: 'response_headers' }))
    await page.getByText('had the whole request and sent no headers').first().waitFor()

    const waiting = await openClient(gw.port)
    waiting.request({ path: '/ok' })
    await reads(page, 'routes-table', 'r', 'total', '9')
    await page.locator('#rate-chart canvas').waitFor()
    await page.locator('#routes-table tr[data-key="r"] canvas').waitFor()
    assert.equal(complaints.join('\n'), '')

    // With failures, exchanges in flight and timeouts that fired: every kind of row is there.
    for (const colorScheme of ['dark', 'light'] as const) {
      await page.emulateMedia({ colorScheme })
      assert.deepEqual(await barriers(page), [], colorScheme)
    }

    waiting.leave('fin')
    await gw.stop()
    await page.getByText('disconnected since').waitFor()
    const next = await startTestGateway(t, spec)
    await page.locator('#connection', { hasText: /^live$/ }).waitFor()
    await page.getByText('it was restarted').waitFor()
    await reads(page, 'routes-table', 'r', 'total', '0')
    await requestOnce(next.port, { path: '/ok' })
    await reads(page, 'routes-table', 'r', 'total', '1')
    assert.equal(
      complaints.filter(text => !text.includes('net::ERR_')).join('\n'),
      '',
      'that nobody answered meanwhile is all the console may say',
    )
  })

  test('what clients, upstreams and the configuration write stays text', async t => {
    const hostile = '<img src=x onerror=document.title=1>'
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, {
      ...simple(upstream.url),
      routes: `  - { name: r, match: { host: "h.example", path_prefix: / }, upstream: up }`,
    })
    const { page, complaints } = await openPage(browser, 'about:blank')
    t.after(() => page.close())
    // What a gateway cannot be made to say by a test, it is made to say on the way: an error's text, a route's name.
    await page.route('**/-/live', async route => {
      const live = await fetch(`${adminOf(gw)}-/live`)
      const reader = live.body?.getReader()
      let text = ''
      while (!text.includes('event: history')) text += Buffer.from((await reader?.read())?.value ?? []).toString()
      await reader?.cancel()
      const whole = text
        .slice(0, text.lastIndexOf('\n\n') + 2)
        .replaceAll('"name":"r"', JSON.stringify({ name: hostile }).slice(1, -1))
      const failure = {
        id: 1,
        time: new Date().toISOString(),
        request_id: hostile,
        route: hostile,
        status: 502,
        outcome: 'reset',
        band: 'upstream_failed',
        request: `GET ${hostile}`,
        text: `up: ${hostile} </li><script>document.title=2</script>`,
        more: 1,
      }
      await route.fulfill({
        contentType: 'text/event-stream',
        body: `retry: 60000\n\n${whole}event: failures\ndata: ${JSON.stringify([failure])}\n\n`,
      })
    })
    const client = await openClient(gw.port)
    await client.send(`GET /${hostile} HTTP/1.1\r\nHost: h.example\r\n\r\n`)
    while ((await gw.metric('hopgate_failures_total')) === 0);
    await page.goto(adminOf(gw))
    await page.getByText('</li><script>').first().waitFor()
    await page.locator('#routes-table th', { hasText: hostile }).waitFor()
    await page.locator('#failures-list li').nth(1).waitFor()
    assert.equal(await page.title(), 'hopgate')
    assert.equal(await page.locator('main img, main script').count(), 0)
    assert.equal(complaints.join('\n'), '')
    client.leave('rst')
  })

  test('200 routes: all of them are listed, filtered and sorted by keyboard', async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, manyRoutes(upstream.url, 200))
    const { page, complaints } = await openPage(browser, adminOf(gw))
    t.after(() => page.close())
    await requestOnce(gw.port, { path: '/r120/x' })
    await reads(page, 'routes-table', 'route-120', 'total', '1')
    assert.equal(await page.locator('#routes-table tbody tr').count(), 201)
    await page.locator('#routes-table tbody canvas').first().waitFor()
    assert.ok((await page.locator('#routes-table tbody canvas').count()) < 60, 'charts exist where they are in sight')

    const sort = page.locator('#routes-table thead button', { hasText: 'total' })
    await sort.focus()
    await page.keyboard.press('Enter')
    assert.equal(await page.locator('#routes-table thead th[aria-sort="descending"]').textContent(), 'total')
    assert.equal(await page.locator('#routes-table tbody tr').first().getAttribute('data-key'), 'route-120')
    await page.locator('#filter').focus()
    await page.keyboard.type('route-19')
    await page.getByText('11 of 201 routes').waitFor()
    await page.locator('#pause').focus()
    await page.keyboard.press('Space')
    assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true')

    assert.equal(complaints.join('\n'), '')
  })
})

function manyRoutes(url: string, count: number): GatewaySpec {
  const numbers = Array.from({ length: count }, (_, n) => n)
  return {
    upstreams: numbers.map(n => `  up-${n}: { endpoints: ["${url}"] }`).join('\n'),
    routes: numbers.map(n => `  - { name: route-${n}, match: { path_prefix: /r${n} }, upstream: up-${n} }`).join('\n'),
  }
}
