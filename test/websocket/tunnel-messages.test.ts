/** What passes through a tunnel: everything, as it is. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { simple, startTestGateway } from '../support/gateway.ts'
import {
  closeFrame,
  handshakeText,
  openWebSocket,
  openWire,
  rawTunnel,
  SWITCHING,
  startBackend,
  startRawBackend,
  until,
} from './support.ts'

const MIB = 1024 * 1024
const SIZES = [0, 1, 125, 126, 65_535, 65_536, 8 * MIB]

describe('messages through a tunnel', () => {
  for (const kind of ['text', 'binary'] as const) {
    test(`${kind} of ${SIZES.join(', ')} bytes comes back as it went`, async t => {
      const backend = await startBackend(t)
      const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
      const { ws, message } = await openWebSocket(t, gw.url)
      for (const size of SIZES) {
        const sent = kind === 'text' ? Buffer.from('ü'.repeat(size >> 1) + 'x'.repeat(size & 1)) : randomBytes(size)
        ws.send(sent, { binary: kind === 'binary' })
        const { data, isBinary } = await message()
        assert.equal(isBinary, kind === 'binary')
        assert.equal(data.length, size)
        assert.ok(data.equals(sent), `${size} bytes`)
      }
      ws.close()
      assert.equal((await gw.line()).outcome, 'tunnel_closed')
    })
  }

  test('fragments, and a ping between them', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const { ws, message } = await openWebSocket(t, gw.url)
    const pong = once(ws, 'pong')
    ws.send('one ', { fin: false })
    ws.ping('between')
    ws.send('two ', { fin: false })
    ws.send('three', { fin: true })
    assert.equal((await message()).data.toString(), 'one two three')
    assert.equal(String((await pong)[0]), 'between')
  })

  test('pings and pongs of the backend', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const { ws } = await openWebSocket(t, gw.url)
    const [ofBackend] = backend.sockets
    const ping = once(ws, 'ping')
    const pong = once(ofBackend as NonNullable<typeof ofBackend>, 'pong')
    ofBackend?.ping('there?')
    assert.equal(String((await ping)[0]), 'there?')
    assert.equal(String((await pong)[0]), 'there?')
  })

  test('compression is between the two ends: the extension is agreed on, and compressed messages pass', async t => {
    const backend = await startBackend(t, { compress: true })
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const { ws, message } = await openWebSocket(t, gw.url, [], { perMessageDeflate: { threshold: 0 } })
    assert.match(ws.extensions, /permessage-deflate/)
    const text = 'all work and no play '.repeat(50_000)
    ws.send(text)
    assert.equal((await message()).data.toString(), text)
    ws.close()
    const { rx_bytes } = await gw.line()
    assert.ok(Number(rx_bytes) < text.length / 10, `${rx_bytes} bytes for ${text.length}`)
  })

  test('the subprotocol that the backend chose is the one the client sees', async t => {
    const backend = await startBackend(t, { protocols: () => 'v2' })
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const { ws } = await openWebSocket(t, gw.url, ['v1', 'v2'])
    assert.equal(ws.protocol, 'v2')
    assert.equal(backend.requests[0]?.headers['sec-websocket-protocol'], 'v1,v2')
  })

  test('what is sent in one segment with the handshake is not lost', async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const client = await openWire(t, gw.port)
    client.send(`${handshakeText('/')}early`)
    const upstream = await backend.next()
    assert.doesNotMatch(upstream.text, /early/, 'not before the upstream has agreed')
    upstream.send(`${SWITCHING}first`)
    await client.heard(/\r\n\r\nfirst$/)
    await upstream.heard(/\r\n\r\nearly$/)
    client.rst()
  })

  test('64 KiB before the handshake was answered are too much: 400', async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const client = await openWire(t, gw.port)
    client.send(handshakeText('/'))
    const upstream = await backend.next()
    client.send(Buffer.alloc(65 * 1024))
    await client.heard(/^HTTP\/1\.1 400 /)
    assert.equal((await gw.line()).outcome, 'bad_request')
    await upstream.over()
  })
})

describe('close codes', () => {
  const CODES = [
    [1000, '1000'],
    [1001, '1001'],
    [1011, '1011'],
    [3456, '3xxx'],
    [4999, '4xxx'],
  ] as const
  for (const [code, label] of CODES) {
    for (const by of ['client', 'upstream'] as const) {
      test(`${code} from the ${by} reaches the other side, the line and the metric`, async t => {
        let atBackend: number | undefined
        const backend = await startBackend(t, {
          onConnection: ws =>
            ws.on('close', seen => {
              atBackend = seen
            }),
        })
        const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
        const { ws, closed } = await openWebSocket(t, gw.url)
        assert.equal(await gw.metric('hopgate_websocket_connections', { route: 'r', mode: 'tunnel' }), 1)
        if (by === 'client') ws.close(code, 'because')
        else for (const each of backend.sockets) each.close(code, 'because')
        const line = await gw.line()
        assert.deepEqual(
          [line.outcome, line.status, line['websocket'], line['closed_by'], line['close_code'], line.stage],
          ['tunnel_closed', 101, 'tunnel', by, code, undefined],
        )
        assert.equal((await closed).code, code)
        await until('the close at the backend', () => atBackend !== undefined)
        assert.equal(atBackend, code)
        assert.equal(await gw.metric('hopgate_websocket_connections', { route: 'r', mode: 'tunnel' }), 0)
        assert.equal(await gw.metric('hopgate_websocket_closed_total', { mode: 'tunnel', by, code: label }), 1)
        assert.equal(await gw.metric('hopgate_failures_total'), 0)
      })
    }
  }

  test('a close frame without a code is 1005, an end without a close frame 1006', async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const first = await rawTunnel(t, gw.port, backend)
    first.client.send(Buffer.from([0x88, 0x80, 1, 2, 3, 4]))
    first.client.fin()
    await first.upstream.over()
    first.upstream.fin()
    const empty = await gw.line()
    assert.deepEqual([empty.outcome, empty['closed_by'], empty['close_code']], ['tunnel_closed', 'client', 1005])
    const second = await rawTunnel(t, gw.port, backend)
    second.upstream.fin()
    await second.client.over()
    second.client.fin()
    const none = await gw.line()
    assert.deepEqual([none.outcome, none['closed_by'], none['close_code']], ['tunnel_closed', 'upstream', 1006])
  })

  test('a close frame that comes byte by byte, behind other frames, is read', async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    const frames = Buffer.concat([
      Buffer.from([0x82, 126, 1, 0]),
      Buffer.alloc(256, 0x88),
      Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
      Buffer.alloc(65_536, 0x88),
      Buffer.from([0x81, 0]),
      closeFrame(4321, false),
    ])
    for (const byte of frames.subarray(0, 300)) upstream.send(Buffer.from([byte]))
    upstream.send(frames.subarray(300, -4))
    for (const byte of frames.subarray(-4)) {
      const before = client.receivedBytes
      upstream.send(Buffer.from([byte]))
      await until('the byte at the client', () => client.receivedBytes > before)
    }
    await until('all of it', () => client.receivedBytes === frames.length)
    upstream.fin()
    await client.over()
    client.send(closeFrame(4321, true))
    client.fin()
    const line = await gw.line()
    assert.deepEqual([line['closed_by'], line['close_code'], line['tx_bytes']], ['upstream', 4321, frames.length])
  })
})
