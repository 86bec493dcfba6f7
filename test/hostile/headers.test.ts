/** What only a gateway may say, and what no client can make it unsay. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clientBehind, plainAddress, trustedBy } from '../../src/exchange/peer.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { requestOnce } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { converse } from './wire.ts'

test('Via: both ways, after those that were there, in the version that was received', async t => {
  const upstream = await startUpstream(answer({ headers: [['Via', '1.1 inner']] }))
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gateway.port, { headers: [['Via', '1.1 outer']] })
  const request = await upstream.nextRequest()
  const via = request.header('via') ?? ''
  assert.match(via, /^1\.1 outer, 1\.1 hopgate-[0-9a-f]{12}$/)
  const self = via.slice('1.1 outer, '.length)
  assert.equal(response.header('via'), `1.1 inner, ${self}`)

  await converse(gateway.port, Buffer.from('GET / HTTP/1.0\r\n\r\n'))
  assert.equal((await upstream.nextRequest()).header('via'), self.replace('1.1', '1.0'))
})

test('two gateways have two pseudonyms, and none says where it runs', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const seen = new Set<string | undefined>()
  for (let i = 0; i < 2; i++) {
    const gateway = await startTestGateway(t, simple(upstream.url))
    await requestOnce(gateway.port)
    seen.add((await upstream.nextRequest()).header('via'))
  }
  assert.equal(seen.size, 2)
})

for (const connection of ['close', 'via, close']) {
  test(`a request that has been here before: 508, and the upstream is not asked (Connection: ${connection})`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gateway = await startTestGateway(t, simple(upstream.url))
    await requestOnce(gateway.port)
    const via = (await upstream.nextRequest()).header('via') ?? ''
    await gateway.line()
    const headers = [
      ['Via', `${via}, 1.1 another`],
      ['Connection', connection],
    ] as const
    const response = await requestOnce(gateway.port, { headers })
    assert.equal(response.status, 508)
    assert.match(response.header('proxy-status') ?? '', /proxy_loop_detected/)
    const { outcome, stage, party } = await gateway.line()
    assert.deepEqual({ outcome, stage, party }, { outcome: 'loop_detected', stage: 'route', party: 'client' })
    assert.equal(upstream.requests.length, 1)
  })
}

const OWN = [
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
  'via',
  'x-request-id',
]

test('a client cannot use Connection to strip what the gateway or the framing sets', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url, 'request_headers: { set: { X-Secret: s } }'))
  const head = `POST / HTTP/1.1\r\nHost: a.example\r\nX-Custom: y\r\nContent-Length: 5\r\nConnection: x-custom, x-secret, host, content-length, ${OWN.join(', ')}\r\n\r\nhello`
  await converse(gateway.port, Buffer.from(head))
  const request = await upstream.nextRequest()
  for (const name of [...OWN, 'host', 'content-length', 'x-secret']) assert.ok(request.header(name), name)
  assert.equal(request.header('x-custom'), undefined)
  assert.equal((await request.uploaded).bytes, 5)
})

test('an upstream cannot use Connection to strip its Content-Length', async t => {
  const upstream = await startUpstream(answer({ headers: [['Connection', 'content-length, x-hop']], body: 'hello' }))
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gateway.port)
  assert.equal(response.header('content-length'), '5')
})

test('what a client says of itself, in its own name or one that looks like it, does not get through', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url, 'request_headers: { set: { X-Tenant: t } }'))
  const forged = [
    'X-Forwarded-For',
    'X_Forwarded_For',
    'X-Forwarded_Proto',
    'X_Real_IP',
    'Forwarded',
    'X_Request_Id',
    'X_Tenant',
    'X-Tenant',
  ]
  await requestOnce(gateway.port, { headers: forged.map(name => [name, 'forged'] as const) })
  const { rawHeaders } = await upstream.nextRequest()
  assert.deepEqual(
    rawHeaders.filter(([name, value]) => value.includes('forged') || name.includes('_')),
    [],
  )
})

test('Upgrade: h2c is answered as HTTP/1.1, and not passed on', async t => {
  const upstream = await startUpstream(answer({ body: 'plain' }))
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url))
  const headers = [
    ['Connection', 'Upgrade, HTTP2-Settings'],
    ['Upgrade', 'h2c'],
    ['HTTP2-Settings', 'AAMAAABkAAQAAP__'],
  ] as const
  const response = await requestOnce(gateway.port, { headers })
  assert.equal(response.body.toString(), 'plain')
  const request = await upstream.nextRequest()
  for (const name of ['upgrade', 'http2-settings']) assert.equal(request.header(name), undefined, name)
  assert.doesNotMatch(request.header('connection') ?? '', /upgrade/i)
})

test('hints of an upstream lose what belongs to its hop', async t => {
  const interim = [
    {
      status: 103,
      headers: [
        ['Link', '</a>'],
        ['Keep-Alive', 'timeout=9'],
        ['X-Hint', 'y'],
      ] as const,
    },
  ]
  const upstream = await startUpstream(answer({ interim }))
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url))
  const response = await requestOnce(gateway.port)
  const names = response.interim.flatMap(({ headers }) => headers.map(([name]) => name.toLowerCase()))
  assert.deepEqual(names.sort(), ['link', 'x-hint'])
})

test('an encoded slash is kept where a route says so, and never as a way up', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, {
    upstreams: `  up: { endpoints: ["${upstream.url}"] }`,
    routes: [
      '  - { name: keep, match: { path_prefix: /keep, encoded_slashes: keep }, upstream: up }',
      '  - { name: plain, match: { path_prefix: /plain }, upstream: up }',
    ].join('\n'),
  })
  const status = async (path: string): Promise<number> => (await requestOnce(gateway.port, { path })).status
  assert.equal(await status('/keep/a%2Fb%2fc?d=%2F'), 200)
  assert.equal((await upstream.nextRequest()).target, '/keep/a%2Fb%2fc?d=%2F')
  for (const path of [
    '/keep/..%2fplain',
    '/keep/a%2f..%2fb',
    '/keep/a%2f%2e%2e',
    '/keep%2f..',
    '/plain/a%2fb',
    '/other/a%2fb',
  ]) {
    assert.equal(await status(path), 400, path)
  }
  assert.equal(upstream.requests.length, 1)
})

const PATHS: readonly (readonly [string, string])[] = [
  ['/a//b', '/a//b'],
  ['//a', '//a'],
  ['/a/./b', '/a/b'],
  ['/a/../b', '/b'],
  ['/a/%2e%2E/b', '/b'],
  ['/a/b/..', '/a/'],
  ['/a/.', '/a/'],
  ['/%61', '/a'],
  ['/a%20b', '/a%20b'],
  ['/a%252e%252e/b', '/a%252e%252e/b'],
  ['/%c3%a4', '/%c3%a4'],
  ['/a;b=c', '/a;b=c'],
  ['/.well-known/x', '/.well-known/x'],
  ['/a.b/c..d', '/a.b/c..d'],
  ['/...', '/...'],
  ['/a?/../b', '/a?/../b'],
  ['/a?%2f%00%zz', '/a?%2f%00%zz'],
  ['/a?b=c?d\\e', '/a?b=c?d\\e'],
  ['http://a.example/x/../y?z', '/y?z'],
  ['HTTP://A.example', '/'],
  ['http://a.example?x', '/?x'],
]

test('a target is passed on as it was matched', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url))
  for (const [sent, seen] of PATHS) {
    await converse(gateway.port, Buffer.from(`GET ${sent} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n`))
    assert.equal((await upstream.nextRequest()).target, seen, sent)
  }
})

test('the client behind a chain of trusted proxies, in each way of writing an address', () => {
  const isTrusted = trustedBy(['10.0.0.0/8', '2001:db8::/32'])
  const peer = { address: '10.0.0.1', trusted: true, localPort: 80 }
  const client = (chain: string): string => clientBehind(peer, chain, isTrusted)
  assert.equal(client('192.0.2.1'), '192.0.2.1')
  assert.equal(client('192.0.2.66, 192.0.2.1, 10.1.2.3'), '192.0.2.1')
  assert.equal(client('192.0.2.1, 2001:db8::1, ::ffff:10.0.0.9'), '192.0.2.1')
  assert.equal(client('192.0.2.1, ::ffff:a00:9'), '192.0.2.1')
  assert.equal(client('[2001:db9::1]:4711, 10.0.0.2:80'), '2001:db9::1')
  assert.equal(client('::ffff:192.0.2.1'), '192.0.2.1')
  assert.equal(client('unknown, 10.0.0.2'), '10.0.0.2')
  assert.equal(client('10.0.0.3, 10.0.0.2'), '10.0.0.3')
  assert.equal(plainAddress('0:0:0:0:0:FFFF:c000:0201'), '192.0.2.1')
  assert.equal(plainAddress('2001:db8::ffff:1.2.3.4'), '2001:db8::ffff:1.2.3.4')
})
