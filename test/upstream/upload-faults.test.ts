/** What can go wrong at the upstream while an upload is on its way: the client gets a proper answer all the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { checkAccessLine, checkPoolEmpty, checkReply, type Expected } from './support.ts'

/** More than the kernel's buffers of both hops hold together. */
const BIG = 24 * 1024 * 1024
const unlimited = 'limits: { body: 64MiB }'

interface UploadCase {
  readonly name: string
  readonly fault: Parameters<typeof startUpstream>[0]
  readonly bodyBytes: number
  readonly route?: string
  readonly chunked?: boolean
  readonly expect: Expected & { readonly codes?: readonly string[] }
}

const written: Expected = {
  outcome: 'request_write_timeout',
  stage: 'request_write',
  status: 504,
  timeout: 'request_write',
  proxyError: 'connection_write_timeout',
}
const broken: Expected & { codes: readonly string[] } = {
  outcome: 'reset',
  stage: 'request_write',
  status: 502,
  codes: ['ECONNRESET', 'EPIPE', 'HOPGATE_ENDED'],
  proxyError: 'connection_terminated',
}

const cases: readonly UploadCase[] = [
  ...[false, true].map(chunked => ({
    name: `an upstream that never reads the ${chunked ? 'chunked ' : ''}upload`,
    fault: { on: 'request', then: 'stop-reading' } as const,
    bodyBytes: BIG,
    chunked,
    route: `timeouts: { request_write: 300ms }, ${unlimited}`,
    expect: written,
  })),
  {
    name: 'an upstream that stops reading after 1 MB',
    fault: { on: 'request', then: 'stop-reading', afterBytes: 1_000_000 },
    bodyBytes: BIG,
    route: `timeouts: { request_write: 300ms }, ${unlimited}`,
    expect: written,
  },
  ...(['fin', 'rst'] as const).flatMap(how =>
    [0, 500_000].map(afterBytes => ({
      name: `a ${how} after ${afterBytes} bytes of the upload`,
      fault: { on: 'request', then: how, afterBytes } as const,
      bodyBytes: BIG,
      route: unlimited,
      expect: broken,
    })),
  ),
]

for (const { name, fault, bodyBytes, route, chunked = false, expect } of cases) {
  test(`POST: ${name}: ${expect.outcome} in ${expect.stage}, ${expect.status}, in the midst of the upload`, async t => {
    const upstream = await startUpstream(fault)
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, route))
    const client = await openClient(gw.port)
    t.after(() => client.leave('rst'))
    const response = await client.request({ method: 'POST', path: '/a', body: bodyBytes, chunked }).response
    const line = await gw.line()
    const { codes } = expect
    const code = codes === undefined ? undefined : (line['error'] as { code: string } | undefined)?.code
    if (codes !== undefined) assert.ok(codes.includes(code ?? ''), JSON.stringify(line))
    checkAccessLine(line, 'POST', { ...expect, ...(code === undefined ? {} : { code }) })
    checkReply(response, line, expect)
    assert.equal(response.header('connection'), 'close', 'what is left of the upload makes the connection useless')
    assert.ok((line['rx_bytes'] as number) < bodyBytes)
    if (expect.timeout !== undefined) {
      assert.equal(await gw.metric('hopgate_timeouts_total', { route: 'r', timeout: expect.timeout }), 1)
      assert.equal((await upstream.connections[0]?.closed)?.how, 'rst')
    }
    await upstream.allClosed()
    await checkPoolEmpty(gw)
  })
}

test('an upstream that reads slowly, but reads: request_write restarts at each byte, and the upload arrives', async t => {
  // 12 MB at 64 KB per 14 ms: 2.6 s, three times the timeout.
  const upstream = await startUpstream({ on: 'request', then: 'drip', pace: { bytesPerTick: 65_536, tickMs: 14 } })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, `timeouts: { request_write: 800ms }, ${unlimited}`))
  const client = await openClient(gw.port)
  const response = await client.request({ method: 'POST', path: '/a', body: 12_000_000 }).response
  client.leave('rst')
  assert.equal(response.status, 200)
  const line = await gw.line()
  assert.deepEqual([line.outcome, line['rx_bytes']], ['completed', 12_000_000])
  assert.equal(upstream.requests[0]?.bodyBytes, 12_000_000)
})

const early = [
  { rest: 'read', body: 100 },
  { rest: 'stop-reading', body: 100 },
  { rest: 'fin', body: 100 },
  { rest: 'read', body: 200_000 },
  { rest: 'fin', body: 200_000 },
] as const
for (const { rest, body } of early) {
  test(`POST: an answer of ${body} bytes while the upload is coming, then the upstream does "${rest}": it is relayed whole`, async t => {
    const answer = { status: 413, body }
    const upstream = await startUpstream({ on: 'request', then: 'answer-early', afterBytes: 10_000, rest, answer })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, unlimited))
    const client = await openClient(gw.port)
    const response = await client.request({ method: 'POST', path: '/a', body: BIG }).response
    client.leave('rst')
    assert.deepEqual([response.status, response.body.length, response.complete], [413, body, true])
    assert.equal(response.header('connection'), 'close')
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.status, line.party], ['completed', 413, 'none'])
    await upstream.allClosed()
    await checkPoolEmpty(gw)
  })
}
