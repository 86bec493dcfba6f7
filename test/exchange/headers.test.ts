/** Header fields on their way: what is kept as it came, what belongs to one hop, and what only a gateway may say. */
import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { answer, type RawHeaders } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { requestOnce } from '../../src/prove/raw-client.ts'
import type { RequestHead } from '../../src/prove/upstream-request.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

/** The fields of `rawHeaders` that a test sent, as they came, without those that the hop adds. */
function sent(rawHeaders: RawHeaders): RawHeaders {
  return rawHeaders.filter(([name]) => name.toLowerCase().startsWith('t-') || name.toLowerCase() === 'set-cookie')
}

const MIXED: RawHeaders = [
  ['T-Zebra', '1'],
  ['t-lower', '2'],
  ['T-UPPER', '3'],
  ['T-Twice', 'a'],
  ['T-Between', 'x'],
  ['T-Twice', 'b'],
  ['T-Latin', 'caf\xe9'],
  ['T-Empty', ''],
]

test('header fields of a request and of an answer: order, case and duplicates as they came', async t => {
  const cookies: RawHeaders = [...MIXED, ['Set-Cookie', 'a=1; Path=/'], ['set-cookie', 'b=2'], ['Set-Cookie', 'c=3']]
  const upstream = await startUpstream(answer({ headers: cookies }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gw.port, { headers: MIXED })
  assert.deepEqual(sent((await upstream.nextRequest()).rawHeaders), MIXED)
  assert.deepEqual(sent(response.headers), cookies)
})

/** RFC 9110 section 7.6.1, and what older peers say. */
const HOP: RawHeaders = [
  ['Connection', 'keep-alive, T-Listed, Close-To-It'],
  ['T-Listed', 'for this hop'],
  ['Close-To-It', 'for this hop too'],
  ['Keep-Alive', 'timeout=77'],
  ['Proxy-Connection', 'keep-alive'],
  ['T-Kept', 'end to end'],
]

function absent(head: { header(name: string): string | undefined }, names: readonly string[]): void {
  for (const name of names) assert.equal(head.header(name), undefined, name)
}

test('fields of the client hop: none reaches the upstream, and what Connection lists goes with it', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const more: RawHeaders = [
    ['TE', 'trailers'],
    ['Proxy-Authorization', 'Basic eDp5'],
    ['Upgrade', 'h2c'],
    ['HTTP2-Settings', 'AAMAAABkAAQAAP__'],
  ]
  assert.equal((await requestOnce(gw.port, { headers: [...HOP, ...more] })).status, 200)
  const seen = await upstream.nextRequest()
  absent(seen, [
    't-listed',
    'close-to-it',
    'proxy-connection',
    'te',
    'proxy-authorization',
    'upgrade',
    'http2-settings',
  ])
  assert.notEqual(seen.header('keep-alive'), 'timeout=77')
  assert.doesNotMatch(seen.header('connection') ?? '', /listed|close/i)
  assert.equal(seen.header('t-kept'), 'end to end')
})

test('fields of the upstream hop: none reaches the client, and its connection stays open', async t => {
  const upstream = await startUpstream(
    answer({ headers: [...HOP, ['Upgrade', 'h2c'], ['Proxy-Authenticate', 'Basic']] }),
  )
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gw.port)
  absent(response, ['t-listed', 'close-to-it', 'proxy-connection', 'upgrade', 'proxy-authenticate'])
  assert.notEqual(response.header('keep-alive'), 'timeout=77')
  assert.doesNotMatch(response.header('connection') ?? '', /listed|close/i)
  assert.deepEqual([response.header('t-kept'), response.ended], ['end to end', 'open'])
})

test('an upstream that closes after its answer: that is its own hop, and the client is not closed', async t => {
  const upstream = await startUpstream(answer({ keepAlive: false }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gw.port)
  assert.deepEqual([response.status, response.ended], [200, 'open'])
  assert.notEqual(response.header('connection'), 'close')
})

test('a client that says Connection: close: it is closed, and the upstream is not', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  for (let n = 0; n < 2; n++) {
    const response = await requestOnce(gw.port, { headers: [['Connection', 'close']] })
    assert.deepEqual([response.status, response.header('connection')], [200, 'close'])
  }
  assert.equal(upstream.counters.connections, 1)
})

const SPOOFED: RawHeaders = [
  ['X-Forwarded-For', '192.0.2.1, 198.51.100.7'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Host', 'shop.example'],
  ['X-Forwarded-Port', '443'],
  ['X-Real-IP', '192.0.2.66'],
  ['X-Request-Id', 'their-id-1'],
  ['Forwarded', 'for=192.0.2.1;proto=https'],
]

function forwarding(head: RequestHead): readonly (string | undefined)[] {
  return ['for', 'proto', 'host', 'port'].map(name => head.header(`x-forwarded-${name}`))
}

test('a client that nobody trusts: what it says of those behind it is replaced by what we see', async t => {
  const upstream = await startUpstream(answer({ headers: [['X-Request-Id', 'from the upstream']] }))
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gw.port, { headers: [['Host', 'a.example'], ...SPOOFED] })
  const seen = await upstream.nextRequest()
  assert.deepEqual(forwarding(seen), ['127.0.0.1', 'http', 'a.example', String(gw.port)])
  assert.deepEqual([seen.header('x-real-ip'), seen.header('forwarded')], ['127.0.0.1', undefined])
  const line = await gw.line()
  assert.equal(line['client'], '127.0.0.1')
  assert.notEqual(line.request_id, 'their-id-1')
  assert.deepEqual([response.header('x-request-id'), seen.header('x-request-id')], [line.request_id, line.request_id])
})

test('a trusted proxy: its word is passed on with its own address behind it, and the client is the first that is no proxy', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const listen = '  trusted_proxies: [127.0.0.0/8, 198.51.100.0/24]'
  const gw = await startTestGateway(t, { ...simple(upstream.url), listen })
  const response = await requestOnce(gw.port, { headers: SPOOFED })
  const seen = await upstream.nextRequest()
  assert.deepEqual(forwarding(seen), ['192.0.2.1, 198.51.100.7, 127.0.0.1', 'https', 'shop.example', '443'])
  assert.equal(seen.header('x-real-ip'), '192.0.2.1')
  assert.match(seen.header('forwarded') ?? '', /^for=192\.0\.2\.1;proto=https, for=127\.0\.0\.1;/)
  const line = await gw.line()
  assert.deepEqual([line['client'], line.request_id], ['192.0.2.1', 'their-id-1'])
  assert.deepEqual([response.header('x-request-id'), seen.header('x-request-id')], ['their-id-1', 'their-id-1'])
})

const hasIpv6 = Object.values(networkInterfaces()).some(all => all?.some(({ address }) => address === '::1'))

for (const trusted of [false, true]) {
  const who = trusted ? 'a trusted proxy' : 'a client'
  test(`${who} that comes by IPv6: its address is told without brackets, and it is ${trusted ? '' : 'not '}believed`, {
    skip: !hasIpv6,
  }, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const listen = trusted ? '  trusted_proxies: ["::1/128"]' : ''
    const gw = await startTestGateway(t, { ...simple(upstream.url), address: '[::1]:0', listen })
    const headers = { 'X-Forwarded-For': '2001:db8::7' }
    await new Promise<void>((resolve, reject) => {
      const sending = httpRequest({ host: '::1', port: gw.port, headers, agent: false }, res =>
        res.resume().on('end', resolve),
      )
      sending.on('error', reject).end()
    })
    const seen = await upstream.nextRequest()
    assert.equal(seen.header('x-forwarded-for'), trusted ? '2001:db8::7, ::1' : '::1')
    assert.equal((await gw.line())['client'], trusted ? '2001:db8::7' : '::1')
  })
}

test('a client of IPv4 on a listener of both families: its address is a plain one', { skip: !hasIpv6 }, async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, { ...simple(upstream.url), address: '[::]:0' })
  assert.equal((await requestOnce(gw.port)).status, 200)
  assert.equal((await upstream.nextRequest()).header('x-forwarded-for'), '127.0.0.1')
  assert.equal((await gw.line())['client'], '127.0.0.1')
})

test('header rules of a route: what it removes is gone, what it sets replaces what came, both ways', async t => {
  const upstream = await startUpstream(
    answer({
      headers: [
        ['T-Server', 'secret'],
        ['T-Cache', 'old'],
      ],
    }),
  )
  t.after(() => upstream.close())
  const rules =
    'request_headers: { set: { T-Tenant: blue }, remove: [T-Debug] }, response_headers: { set: { T-Cache: new }, remove: [T-Server] }'
  const gw = await startTestGateway(t, simple(upstream.url, rules))
  const headers: RawHeaders = [
    ['t-tenant', 'red'],
    ['T-DEBUG', '1'],
    ['T-Kept', '2'],
  ]
  const response = await requestOnce(gw.port, { headers })
  assert.deepEqual(sent((await upstream.nextRequest()).rawHeaders), [
    ['T-Kept', '2'],
    ['T-Tenant', 'blue'],
  ])
  assert.deepEqual(sent(response.headers), [['T-Cache', 'new']])
})
