/** The handshake of a tunnel is an exchange like any other: what can go wrong with it has the name it always has. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { UpstreamFault } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { type GatewaySpec, simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import {
  handshakeText,
  newWebSocket,
  openRawWebSocket,
  openWebSocket,
  openWire,
  SWITCHING,
  startBackend,
  startRawBackend,
  until,
} from './support.ts'

const TIMEOUTS = 'timeouts: { connect: 300ms, response_headers: 300ms, queue: 300ms }'

async function shake(
  t: TestContext,
  spec: GatewaySpec,
  text = handshakeText('/'),
): Promise<{ gw: TestGateway; head: string; body: string }> {
  const gw = await startTestGateway(t, spec)
  const client = await openWire(t, gw.port)
  client.send(text)
  await client.over()
  const at = client.text.indexOf('\r\n\r\n')
  client.fin()
  return { gw, head: client.text.slice(0, at), body: client.text.slice(at + 4) }
}

describe('the upstream says no', () => {
  for (const status of [200, 401, 404, 426, 503]) {
    test(`${status}, with its header fields and its body`, async t => {
      const backend = await startRawBackend(t)
      const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
      const client = await openWire(t, gw.port)
      client.send(handshakeText('/'))
      const upstream = await backend.next()
      const body = 'not for you'.repeat(3000)
      upstream.send(
        `HTTP/1.1 ${status} No\r\nWWW-Authenticate: Basic\r\nX-Why: because\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      assert.equal(await client.over(), 'fin')
      assert.match(client.text, new RegExp(`^HTTP/1\\.1 ${status} No\r\n`))
      assert.match(client.text, /\r\nWWW-Authenticate: Basic\r\n.*X-Why: because\r\n.*Connection: close\r\n/s)
      assert.ok(client.text.endsWith(`\r\n\r\n${body}`))
      client.fin()
      const line = await gw.line()
      assert.deepEqual(
        [line.outcome, line.stage, line.status, line.party, line['tx_bytes']],
        ['upgrade_failed', 'response_headers', status, 'upstream', body.length],
      )
      assert.equal(await gw.metric('hopgate_websocket_closed_total'), 0)
      // Its connection is not kept: the next handshake gets one of its own, and the slot is free.
      const again = await openWire(t, gw.port)
      again.send(handshakeText('/'))
      const second = await backend.next()
      second.send(SWITCHING)
      await again.heard(/^HTTP\/1\.1 101 /)
      again.rst()
    })
  }

  test('the body of a refusal is truncated where the upstream truncates it', async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const client = await openWire(t, gw.port)
    client.send(handshakeText('/'))
    const upstream = await backend.next()
    upstream.send('HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nhalf')
    await client.heard(/half$/)
    upstream.fin()
    await client.over()
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status], ['truncated', 'response_body', 503])
  })
})

describe('the upstream does worse than say no', () => {
  const CASES: readonly (readonly [string, UpstreamFault, string, string, number])[] = [
    ['refuses the connection', { on: 'dial', then: 'refuse' }, 'connect_refused', 'connect', 502],
    ['is a black hole', { on: 'dial', then: 'black-hole' }, 'connect_timeout', 'connect', 504],
    ['hangs', { on: 'headers', then: 'hang' }, 'response_headers_timeout', 'response_headers', 504],
    ['sends garbage', { on: 'headers', then: 'garbage' }, 'protocol_error', 'response_headers', 502],
    ['resets', { on: 'headers', then: 'rst' }, 'reset', 'response_headers', 502],
    ['ends', { on: 'headers', then: 'fin' }, 'reset', 'response_headers', 502],
    [
      'switches to something else',
      { on: 'headers', then: 'upgrade', protocol: 'h2c' },
      'protocol_error',
      'response_headers',
      502,
    ],
  ]
  for (const [what, fault, outcome, stage, status] of CASES) {
    test(`it ${what}: ${outcome}, ${status}`, async t => {
      const upstream = await startUpstream(fault)
      t.after(() => upstream.close())
      const { gw, head, body } = await shake(t, simple(upstream.url, `websocket: {}, ${TIMEOUTS}`))
      assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `))
      assert.equal(JSON.parse(body).outcome, outcome)
      const line = await gw.line()
      assert.deepEqual([line.outcome, line.stage, line.status], [outcome, stage, status])
      assert.equal(await gw.metric('hopgate_websocket_connections'), 0)
    })
  }

  test('a 101 that claims a body, or that comes as HTTP/1.0: protocol_error', async t => {
    for (const head of [
      SWITCHING.replace('Connection', 'Content-Length: 5\r\nConnection'),
      SWITCHING.replace('HTTP/1.1', 'HTTP/1.0'),
    ]) {
      const backend = await startRawBackend(t)
      const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
      const client = await openWire(t, gw.port)
      client.send(handshakeText('/'))
      const upstream = await backend.next()
      upstream.send(head)
      await client.heard(/^HTTP\/1\.1 502 /)
      assert.equal((await gw.line()).outcome, 'protocol_error')
      await upstream.over()
    }
  })

  test('a stale connection is replaced once: the handshake is a GET without a body', async t => {
    let seen = 0
    const upstream = await startUpstream(() => {
      seen++
      if (seen === 1) return { on: 'request', then: 'answer' }
      if (seen === 2) return { on: 'request', then: 'rst' }
      return { on: 'headers', then: 'upgrade' }
    })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, 'websocket: {}'))
    assert.equal((await fetch(gw.url)).status, 200)
    await until(
      'the connection is idle',
      async () => (await gw.metric('hopgate_pool_connections', { state: 'idle' })) === 1,
    )
    const client = await openRawWebSocket(t, gw.port)
    client.rst()
    await gw.line()
    assert.equal(upstream.counters.connections, 2)
    assert.equal(upstream.counters.requests, 3)
  })
})

describe('the gateway says no', () => {
  test('a route without websocket: 426, and the upstream hears nothing', async t => {
    const backend = await startRawBackend(t)
    const { gw, head, body } = await shake(t, simple(backend.url))
    assert.match(head, /^HTTP\/1\.1 426 Upgrade Required\r\n/)
    // RFC 9110 section 15.5.22: a 426 names the protocol to be spoken instead.
    assert.match(head, /\r\nUpgrade: HTTP\/1\.1(\r\n|$)/)
    assert.match(head, /\r\nConnection: .*close/i)
    assert.equal(JSON.parse(body).outcome, 'upgrade_failed')
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.party, line.route, line['attempts']],
      ['upgrade_failed', 'route', 426, 'client', 'r', 0],
    )
    assert.equal(await gw.metric('hopgate_requests_total', { code: '426', outcome: 'upgrade_failed' }), 1)
    assert.equal(backend.wires.length, 0)
  })

  test('an unknown path: 404; a target that can be read in two ways: 400', async t => {
    const backend = await startRawBackend(t)
    const spec: GatewaySpec = {
      upstreams: `  up: { endpoints: ["${backend.url}"] }`,
      routes: '  - { name: r, match: { path_prefix: /live }, upstream: up, websocket: {} }',
    }
    const gw = await startTestGateway(t, spec)
    for (const [path, status, outcome] of [
      ['/else', 404, 'no_route'],
      ['/live/%2e%2e/../x', 400, 'bad_request'],
      ['/live/a%2fb', 400, 'bad_request'],
    ] as const) {
      const client = await openWire(t, gw.port)
      client.send(handshakeText(path))
      await client.over()
      assert.match(client.text, new RegExp(`^HTTP/1\\.1 ${status} `), path)
      assert.match(client.text, /\r\nConnection: close\r\n/)
      assert.equal((await gw.line()).outcome, outcome)
    }
    const client = await openWire(t, gw.port)
    client.send(handshakeText('/live').replace('Host: gateway.test', 'Host: a b'))
    await client.heard(/^HTTP\/1\.1 400 /)
    assert.equal(backend.wires.length, 0)
  })

  test('in_flight counts tunnels, and the queue and the slots are those of every exchange', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(
      t,
      simple(
        backend.url,
        `websocket: {}, limits: { in_flight: 2 }, timeouts: { queue: 200ms }`,
        'pool: { max_connections: 1, queue: 1 }',
      ),
    )
    const first = await openWebSocket(t, gw.url)
    assert.equal(await gw.metric('hopgate_pool_connections', { state: 'active' }), 1)
    const second = newWebSocket(t, gw.url)
    await until('the second waits', async () => (await gw.metric('hopgate_queue_depth', { upstream: 'up' })) === 1)
    const third = await openWire(t, gw.port)
    third.send(handshakeText('/'))
    await third.heard(/^HTTP\/1\.1 503 .*"overloaded"/s)
    await second.closed
    const outcomes = [(await gw.line()).outcome, (await gw.line()).outcome]
    assert.deepEqual(outcomes.sort(), ['overloaded', 'queue_timeout'])
    first.ws.close()
    await gw.line()
    // The slot is free again.
    const fourth = await openWebSocket(t, gw.url)
    fourth.ws.send('x')
    assert.equal((await fourth.message()).data.toString(), 'x')
  })
})

describe('what the upstream is told', () => {
  test('forwarded headers, request id and Via as on HTTP; no other Upgrade, the WebSocket fields as they came', async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(
      t,
      simple(
        backend.url,
        'websocket: {}, request_headers: { set: { X-Set: "1" }, remove: [x-gone] }, response_headers: { set: { X-By: gw } }',
      ),
    )
    const client = await openWire(t, gw.port)
    client.send(
      handshakeText('/live?token=s', [
        'Sec-WebSocket-Protocol: a, b',
        'Sec-WebSocket-Extensions: permessage-deflate',
        'Cookie: session=1',
        'Origin: https://app.test',
        'X-Forwarded-For: 203.0.113.9',
        'X-Gone: 1',
        'Connection: x-hop',
        'X-Hop: 1',
      ]).replace('Upgrade: websocket', 'Upgrade: h2c, WebSocket'),
    )
    const upstream = await backend.next()
    const lines = upstream.text.trim().split('\r\n')
    assert.equal(lines[0], 'GET /live?token=s HTTP/1.1')
    const field = (name: string) =>
      lines.filter(line => line.toLowerCase().startsWith(`${name}: `)).map(line => line.slice(name.length + 2))
    assert.deepEqual(field('upgrade'), ['websocket'])
    assert.deepEqual(field('connection'), ['upgrade'])
    assert.deepEqual(field('host'), [`127.0.0.1:${backend.port}`])
    assert.deepEqual(field('sec-websocket-protocol'), ['a, b'])
    assert.deepEqual(field('sec-websocket-extensions'), ['permessage-deflate'])
    assert.deepEqual(field('sec-websocket-version'), ['13'])
    assert.deepEqual(field('cookie'), ['session=1'])
    assert.deepEqual(field('origin'), ['https://app.test'])
    assert.deepEqual(field('x-forwarded-for'), ['127.0.0.1'])
    assert.deepEqual(field('x-forwarded-proto'), ['http'])
    assert.deepEqual(field('x-forwarded-host'), ['gateway.test'])
    assert.equal(field('x-request-id').length, 1)
    assert.equal(field('via').length, 1)
    assert.deepEqual([field('x-gone'), field('x-hop'), field('x-set')], [[], [], ['1']])
    upstream.send(SWITCHING.replace('Upgrade: w', 'Sec-WebSocket-Protocol: b\r\nSet-Cookie: c=1\r\nUpgrade: w'))
    const [answer] = await client.heard(/^HTTP\/1\.1 101 .*\r\n\r\n$/s)
    assert.match(answer, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/)
    assert.match(answer, /\r\nSec-WebSocket-Protocol: b\r\n/)
    assert.match(answer, /\r\nSet-Cookie: c=1\r\n/)
    assert.match(answer, /\r\nX-By: gw\r\n/)
    assert.match(answer, new RegExp(`\r\nX-Request-Id: ${field('x-request-id')[0]}\r\n`))
    client.rst()
  })

  test('a route of a host, a rewritten path', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(t, {
      upstreams: `  up: { endpoints: ["${backend.url}"] }`,
      routes: [
        '  - { name: plain, match: { path_prefix: / }, upstream: up }',
        '  - { name: r, match: { host: live.test, path_prefix: /live }, rewrite: { path_prefix: /v2 }, upstream: up, websocket: {} }',
      ].join('\n'),
    })
    const { ws } = await openWebSocket(t, `${gw.url}/live/room`, [], { headers: { host: 'live.test' } })
    assert.equal(backend.requests[0]?.url, '/v2/room')
    ws.close()
    assert.equal((await gw.line()).route, 'r')
  })
})

describe('an Upgrade that is none of WebSocket is a plain request', () => {
  const head = (lines: readonly string[]) => `${lines.join('\r\n')}\r\nHost: a.test\r\nConnection: Upgrade\r\n`
  const CASES: readonly (readonly [string, string])[] = [
    ['h2c', `${head(['GET / HTTP/1.1'])}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`],
    ['a POST with a body', `${head(['POST / HTTP/1.1'])}Upgrade: websocket\r\nContent-Length: 4\r\n\r\nbody`],
    ['HTTP/1.0', `${head(['GET / HTTP/1.0'])}Upgrade: websocket\r\n\r\n`],
    ['without Connection: upgrade', 'GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n'],
  ]
  for (const [what, text] of CASES) {
    for (const websocket of ['', 'websocket: {}']) {
      test(`${what}, on a route ${websocket === '' ? 'without' : 'with'} websocket`, async t => {
        const upstream = await startUpstream({ on: 'request', then: 'answer', answer: { body: 'plain' } })
        t.after(() => upstream.close())
        const gw = await startTestGateway(t, simple(upstream.url, websocket))
        const client = await openWire(t, gw.port)
        client.send(text)
        await client.heard(/^HTTP\/1\.1 200 .*plain/s)
        const request = await upstream.nextRequest()
        assert.equal(request.header('upgrade'), undefined)
        if (what === 'a POST with a body') await until('the body', () => request.body.toString() === 'body')
        assert.equal((await gw.line()).outcome, 'completed')
        if (what !== 'HTTP/1.0') {
          // The connection is kept.
          client.received = Buffer.alloc(0)
          client.send('GET /again HTTP/1.1\r\nHost: a.test\r\n\r\n')
          await client.heard(/^HTTP\/1\.1 200 /)
        }
      })
    }
  }

  test('a handshake behind a response that is under way is served as a plain request, in its turn', async t => {
    const upstream = await startUpstream({ on: 'request', then: 'answer', answer: { body: 'plain' } })
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url, 'websocket: {}'))
    const client = await openWire(t, gw.port)
    client.send(`GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n${handshakeText('/second')}`)
    await client.heard(/HTTP\/1\.1 200 .*plain.*HTTP\/1\.1 200 .*plain/s)
    assert.deepEqual(
      upstream.requests.map(({ path }) => path),
      ['/first', '/second'],
    )
  })
})
