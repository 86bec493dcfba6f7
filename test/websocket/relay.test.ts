/** The relay: the gateway speaks WebSocket with both, and a backend that goes away is reached again. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { describe, type TestContext, test } from 'node:test'
import type { WebSocket } from 'ws'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import {
  type Backend,
  type BackendOptions,
  closeFrame,
  handshakeText,
  KEY,
  openRawWebSocket,
  openWebSocket,
  openWire,
  startBackend,
  startRawBackend,
  until,
} from './support.ts'

const MIB = 1024 * 1024

async function begin(
  t: TestContext,
  relay = '',
  options: BackendOptions = {},
): Promise<{ gw: TestGateway; backend: Backend }> {
  const backend = await startBackend(t, options)
  const route = `websocket: { mode: relay${relay === '' ? '' : `, ${relay}`} }`
  return { backend, gw: await startTestGateway(t, simple(backend.url, route, 'pool: { max_connections: 200 }')) }
}

const firstOf = (backend: Backend): WebSocket => [...backend.sockets][0] as WebSocket

describe('messages through a relay', () => {
  const SIZES = [0, 1, 125, 126, 65_535, 65_536, 8 * MIB]
  for (const kind of ['text', 'binary'] as const) {
    test(`${kind} of ${SIZES.join(', ')} bytes comes back as it went`, async t => {
      const { gw } = await begin(t, 'max_message: 16MiB, max_buffered: 16MiB')
      const { ws, message } = await openWebSocket(t, gw.url)
      for (const size of SIZES) {
        const sent = kind === 'text' ? Buffer.from('ü'.repeat(size >> 1) + 'x'.repeat(size & 1)) : randomBytes(size)
        ws.send(sent, { binary: kind === 'binary' })
        const { data, isBinary } = await message()
        assert.equal(isBinary, kind === 'binary')
        assert.ok(data.equals(sent), `${size} bytes`)
      }
      ws.close(1000)
      const line = await gw.line()
      assert.deepEqual(
        [line.outcome, line['websocket'], line['rx_bytes']],
        ['tunnel_closed', 'relay', line['tx_bytes']],
      )
    })
  }

  test('10000 messages keep their order, and every one arrives; fragments become whole messages', async t => {
    const { gw } = await begin(t)
    const { ws, message } = await openWebSocket(t, gw.url)
    for (let i = 0; i < 10_000; i++) ws.send(`message ${i}`)
    for (let i = 0; i < 10_000; i++) assert.equal((await message()).data.toString(), `message ${i}`)
    ws.send('one ', { fin: false })
    ws.ping()
    ws.send('two', { fin: true })
    assert.equal((await message()).data.toString(), 'one two')
    ws.close()
    await gw.line()
  })

  test('pings are answered by the gateway, on both sides', async t => {
    const { gw, backend } = await begin(t)
    const { ws } = await openWebSocket(t, gw.url)
    const pong = once(ws, 'pong')
    ws.ping('a')
    assert.equal(String((await pong)[0]), 'a')
    const theirs = once(firstOf(backend), 'pong')
    firstOf(backend).ping('b')
    assert.equal(String((await theirs)[0]), 'b')
    ws.close()
    await gw.line()
  })

  test('64 MiB towards a reader that does not read are held up, and arrive when it reads', async t => {
    for (const reader of ['client', 'backend'] as const) {
      const { gw, backend } = await begin(t, '', { onConnection: () => {} })
      const { ws } = await openWebSocket(t, gw.url)
      const [slow, fast] = reader === 'client' ? [ws, firstOf(backend)] : [firstOf(backend), ws]
      let received = 0
      slow.on('message', (data: Buffer) => {
        received += data.length
      })
      slow.pause()
      const before = process.memoryUsage().external
      const chunk = Buffer.alloc(256 * 1024)
      let sent = 0
      const send = (): void => {
        if (sent >= 64 * MIB) return
        sent += chunk.length
        fast.send(chunk, send)
      }
      send()
      let last = -1
      let since = performance.now()
      await until('the sender is held up', () => {
        if (sent !== last) since = performance.now()
        last = sent
        return performance.now() - since > 400
      })
      assert.ok(sent < 64 * MIB, `${sent / MIB} MiB`)
      assert.ok(process.memoryUsage().external - before < 16 * MIB)
      slow.resume()
      await until('all of it', () => received === 64 * MIB)
      ws.close()
      assert.equal((await gw.line()).outcome, 'tunnel_closed')
    }
  })
})

describe('the handshake of a relay', () => {
  test('is the gateway’s own: its key, no extensions, the subprotocols and every other field of the client', async t => {
    const { gw, backend } = await begin(t, '', { compress: true, protocols: () => 'v2' })
    const { ws } = await openWebSocket(t, `${gw.url}/room?x=1`, ['v1', 'v2'], {
      perMessageDeflate: true,
      headers: { cookie: 'a=b', authorization: 'Bearer t', 'x-forwarded-for': '203.0.113.9' },
    })
    assert.deepEqual([ws.protocol, ws.extensions], ['v2', ''])
    const { headers, url } = backend.requests[0] as NonNullable<(typeof backend.requests)[0]>
    assert.equal(url, '/room?x=1')
    assert.deepEqual(
      [headers.cookie, headers.authorization, headers['x-forwarded-for'], headers['sec-websocket-extensions']],
      ['a=b', 'Bearer t', '127.0.0.1', undefined],
    )
    assert.notEqual(headers['sec-websocket-key'], KEY)
    assert.ok(headers['x-request-id'] !== undefined && headers.via !== undefined)
    ws.close()
    await gw.line()
  })

  test('the upstream’s refusal is the client’s answer, and a wrong key or version is a 400 of the gateway', async t => {
    const raw = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(raw.url, 'websocket: { mode: relay }'))
    const refused = await openWire(t, gw.port)
    refused.send(handshakeText('/'))
    const upstream = await raw.next()
    upstream.send('HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nbody')
    await refused.heard(/^HTTP\/1\.1 401 No\r\n.*body$/s)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.status], ['upgrade_failed', 401])
    for (const text of [
      handshakeText('/').replace(KEY, 'short'),
      handshakeText('/').replace('Version: 13', 'Version: 8'),
    ]) {
      const wrong = await openWire(t, gw.port)
      wrong.send(text)
      await wrong.heard(/^HTTP\/1\.1 400 .*Sec-WebSocket-Version: 13\r\n/s)
      assert.equal((await gw.line()).outcome, 'bad_request')
    }
    assert.equal(raw.wires.length, 1)
  })

  test('a 101 with the wrong answer to our key, or with an extension nobody asked for: protocol_error, 502', async t => {
    const raw = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(raw.url, 'websocket: { mode: relay }'))
    const client = await openWire(t, gw.port)
    client.send(handshakeText('/'))
    const upstream = await raw.next()
    upstream.send(
      'HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    )
    await client.heard(/^HTTP\/1\.1 502 /)
    assert.equal((await gw.line()).outcome, 'protocol_error')
    await upstream.over()
  })
})

describe('how a relay ends', () => {
  for (const by of ['client', 'upstream'] as const) {
    for (const code of [1000, 1005, 1011, 4321]) {
      test(`${code} from the ${by} reaches the other side`, async t => {
        let seen: readonly [number, string] | undefined
        const { gw, backend } = await begin(t, '', {
          onConnection: ws =>
            ws.on('close', (at, why) => {
              seen = [at, why.toString()]
            }),
        })
        const { ws, closed } = await openWebSocket(t, gw.url)
        const one = by === 'client' ? ws : firstOf(backend)
        if (code === 1005) one.close()
        else one.close(code, 'because')
        const reason = code === 1005 ? '' : 'because'
        assert.deepEqual(await closed, { code, reason })
        await until('the close at the backend', () => seen !== undefined)
        assert.deepEqual(seen, [code, reason])
        const line = await gw.line()
        assert.deepEqual(
          [line.outcome, line.status, line['closed_by'], line['close_code'], line['attempts']],
          ['tunnel_closed', 101, by, code, 1],
        )
      })
    }
  }

  test('a client that breaks off: the backend hears 1001, the line says client', async t => {
    let seen = 0
    const { gw } = await begin(t, '', {
      onConnection: ws =>
        ws.on('close', code => {
          seen = code
        }),
    })
    const client = await openRawWebSocket(t, gw.port)
    client.rst()
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.party, line['closed_by'], line['close_code']],
      ['tunnel_error', 'client', 'client', 1006],
    )
    await until('the close at the backend', () => seen !== 0)
    assert.equal(seen, 1001)
  })

  test('a message above max_message: 1009 to whoever sent it, and to the client', async t => {
    const { gw, backend } = await begin(t, 'max_message: 1KiB')
    const mine = await openWebSocket(t, gw.url)
    mine.ws.send(Buffer.alloc(1025))
    assert.equal((await mine.closed).code, 1009)
    const first = await gw.line()
    assert.deepEqual([first.outcome, first.party, first['close_code']], ['tunnel_error', 'client', 1009])
    const theirs = await openWebSocket(t, gw.url)
    await until('one at the backend', () => backend.sockets.size === 1)
    firstOf(backend).send(Buffer.alloc(1025))
    assert.equal((await theirs.closed).code, 1009)
    const second = await gw.line()
    assert.deepEqual([second.outcome, second.party, second['close_code']], ['tunnel_error', 'upstream', 1009])
  })

  test('what is no WebSocket ends it: 1002 to the client that says it', async t => {
    const { gw } = await begin(t)
    const client = await openRawWebSocket(t, gw.port)
    client.send('this is no frame')
    await client.heard(/\x88\x02\x03\xea/)
    client.send(closeFrame(1002, true))
    client.fin()
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.party, line['closed_by'], line['close_code']],
      ['tunnel_error', 'client', 'gateway', 1002],
    )
  })

  test('idle_timeout and max_lifetime: closed with 1001 and 1012, the backend with 1001', async t => {
    for (const [timeouts, outcome, code] of [
      ['idle_timeout: 300ms', 'tunnel_idle', 1001],
      ['idle_timeout: off, max_lifetime: 300ms', 'tunnel_lifetime', 1012],
    ] as const) {
      let seen = 0
      const { gw } = await begin(t, timeouts, {
        onConnection: ws =>
          ws.on('close', at => {
            seen = at
          }),
      })
      const { closed } = await openWebSocket(t, gw.url)
      assert.equal((await closed).code, code)
      await until('the close at the backend', () => seen !== 0)
      assert.equal(seen, 1001)
      const line = await gw.line()
      assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], [outcome, 'gateway', code])
    }
  })

  test('a client that does not answer pings is found dead, one that does is not', async t => {
    const { gw, backend } = await begin(t, 'ping_interval: 600ms, idle_timeout: off')
    const alive = await openWebSocket(t, gw.url)
    const dead = await openWebSocket(t, gw.url, [], { autoPong: false })
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.party, line['closed_by'], (line['error'] as { code: string }).code],
      ['tunnel_error', 'client', 'gateway', 'HOPGATE_NO_PONG'],
    )
    assert.equal((await dead.closed).code, 1006)
    const since = performance.now()
    await until('some more pings', () => performance.now() - since > 1500)
    assert.equal(alive.ws.readyState, alive.ws.OPEN)
    assert.equal(backend.sockets.size, 1)
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'websocket.ping_interval' }), 1)
    alive.ws.close()
    await gw.line()
  })

  test('draining: open relays are closed with 1012, and the drain is over', async t => {
    const { gw } = await begin(t)
    const clients = await Promise.all([1, 2, 3].map(() => openWebSocket(t, gw.url)))
    assert.equal(await gw.gateway.drain(), 0)
    for (const { closed } of clients) assert.equal((await closed).code, 1012)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], ['tunnel_closed', 'gateway', 1012])
  })
})
