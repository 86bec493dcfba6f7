/** Every way in which a tunnel, or a handshake that was to become one, ends; and that nothing is left behind. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import {
  closeFrame,
  handshakeText,
  openDescriptors,
  openWebSocket,
  openWire,
  type RawBackend,
  rawTunnel,
  startBackend,
  startRawBackend,
  until,
  type Wire,
} from './support.ts'

async function begin(t: TestContext, route = ''): Promise<{ gw: TestGateway; backend: RawBackend }> {
  const backend = await startRawBackend(t)
  const gw = await startTestGateway(
    t,
    simple(backend.url, `websocket: { ${route} }`, 'pool: { max_connections: 1, queue: 4 }'),
  )
  return { gw, backend }
}

/** The slot is free: another handshake gets through. */
async function slotIsFree(t: TestContext, gw: TestGateway, backend: RawBackend): Promise<void> {
  const { client, upstream } = await rawTunnel(t, gw.port, backend)
  client.rst()
  assert.equal(await upstream.over(), 'rst')
}

describe('the client leaves', () => {
  for (const leave of ['fin', 'rst'] as const) {
    test(`by ${leave} with half a handshake: nothing is asked of anybody`, async t => {
      const { gw, backend } = await begin(t)
      const client = await openWire(t, gw.port)
      client.send(handshakeText('/').slice(0, 60))
      client[leave]()
      await until('the connection is closed', async () => (await gw.metric('hopgate_client_connections')) === 0)
      assert.equal(backend.wires.length, 0)
      await slotIsFree(t, gw, backend)
    })

    test(`by ${leave} in one segment with its handshake`, async t => {
      const { gw } = await begin(t)
      const client = await openWire(t, gw.port)
      client.socket.cork()
      client.send(handshakeText('/'))
      client.socket.uncork()
      client[leave]()
      // A RST can overtake the request that it follows: then there never was one.
      await until('the end', async () => (await gw.metric('hopgate_client_connections')) === 0)
      for (const { outcome } of gw.lines) assert.equal(outcome, 'client_abort')
      if (leave === 'fin') assert.equal((await gw.line()).outcome, 'client_abort')
    })

    test(`by ${leave} while it waits in the queue`, async t => {
      const { gw, backend } = await begin(t)
      const first = await rawTunnel(t, gw.port, backend)
      const client = await openWire(t, gw.port)
      client.send(handshakeText('/'))
      await until('it waits', async () => (await gw.metric('hopgate_queue_depth')) === 1)
      client[leave]()
      const line = await gw.line()
      assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'queue', 499])
      assert.equal(await gw.metric('hopgate_queue_depth'), 0)
      first.client.rst()
      await slotIsFree(t, gw, backend)
    })

    test(`by ${leave} while the upstream thinks: its connection is reset`, async t => {
      const { gw, backend } = await begin(t)
      const client = await openWire(t, gw.port)
      client.send(handshakeText('/'))
      const upstream = await backend.next()
      client[leave]()
      assert.equal(await upstream.over(), 'rst')
      const line = await gw.line()
      assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'response_headers', 499])
      await slotIsFree(t, gw, backend)
    })

    test(`by ${leave} in the middle of a refusal's body`, async t => {
      const { gw, backend } = await begin(t)
      const client = await openWire(t, gw.port)
      client.send(handshakeText('/'))
      const upstream = await backend.next()
      upstream.send('HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nhalf')
      await client.heard(/half/)
      client[leave]()
      assert.equal(await upstream.over(), 'rst')
      const line = await gw.line()
      assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'response_body', 403])
      await slotIsFree(t, gw, backend)
    })
  }

  test('by RST from an open tunnel: so does the gateway, tunnel_error of the client', async t => {
    const { gw, backend } = await begin(t)
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    client.rst()
    assert.equal(await upstream.over(), 'rst')
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.party, line['closed_by'], line['close_code']],
      ['tunnel_error', 'tunnel', 101, 'client', 'client', 1006],
    )
    assert.equal(await gw.metric('hopgate_failures_total', { outcome: 'tunnel_error', party: 'client' }), 1)
    await slotIsFree(t, gw, backend)
  })

  test('by RST right after its close frame: it had said goodbye, tunnel_closed', async t => {
    const { gw, backend } = await begin(t)
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    client.send(closeFrame(1001, true))
    await upstream.heard(/\x88/)
    client.rst()
    await upstream.over()
    upstream.fin()
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], ['tunnel_closed', 'client', 1001])
    await slotIsFree(t, gw, backend)
  })
})

describe('the upstream leaves an open tunnel', () => {
  test('by RST: so does the gateway, tunnel_error of the upstream', async t => {
    const { gw, backend } = await begin(t)
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    upstream.rst()
    assert.equal(await client.over(), 'rst')
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.party, line['closed_by'], line['close_code']],
      ['tunnel_error', 'tunnel', 'upstream', 'upstream', 1006],
    )
    await slotIsFree(t, gw, backend)
  })

  test('by RST after bytes and a close frame: the client gets all of it, then a FIN', async t => {
    const { gw, backend } = await begin(t)
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    upstream.send(Buffer.concat([Buffer.from([0x81, 2]), Buffer.from('ok'), closeFrame(1000, false)]))
    await client.heard(/ok/)
    upstream.rst()
    assert.equal(await client.over(), 'fin')
    client.fin()
    assert.equal((await gw.line()).outcome, 'tunnel_closed')
  })
})

describe('half-close', () => {
  for (const first of ['client', 'upstream'] as const) {
    test(`the ${first} says FIN first: the other goes on until it says so too`, async t => {
      const { gw, backend } = await begin(t)
      const { client, upstream } = await rawTunnel(t, gw.port, backend)
      const [one, other]: [Wire, Wire] = first === 'client' ? [client, upstream] : [upstream, client]
      one.send('last words')
      one.fin()
      await other.heard(/last words$/)
      assert.equal(await other.over(), 'fin')
      assert.equal(gw.lines.length, 0, 'the tunnel is still open')
      const answer = Buffer.alloc(3 * 1024 * 1024, 'a')
      other.send(answer)
      await until('the answer', () => one.receivedBytes === answer.length)
      assert.equal(one.ended, undefined)
      other.fin()
      assert.equal(await one.over(), 'fin')
      const line = await gw.line()
      assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], ['tunnel_closed', first, 1006])
      await slotIsFree(t, gw, backend)
    })
  }

  test('a FIN that is never answered ends with idle_timeout', async t => {
    const { gw, backend } = await begin(t, 'idle_timeout: 300ms')
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    client.fin()
    await upstream.over()
    const line = await gw.line()
    assert.equal(line.outcome, 'tunnel_idle')
    await slotIsFree(t, gw, backend)
  })
})

describe('timeouts of a tunnel', { concurrency: 4 }, () => {
  test('idle_timeout: both sides are cut, one line, one timeout', async t => {
    const { gw, backend } = await begin(t, 'idle_timeout: 400ms')
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    const since = performance.now()
    assert.equal(await client.over(), 'rst')
    assert.ok(performance.now() - since >= 390, `${performance.now() - since} ms`)
    assert.equal(await upstream.over(), 'rst')
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line.status, line.party, line['closed_by'], line['close_code']],
      ['tunnel_idle', 'tunnel', 101, 'none', 'gateway', 1006],
    )
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'websocket.idle_timeout' }), 1)
    assert.equal(await gw.metric('hopgate_timeout_configured_seconds', { timeout: 'websocket.idle_timeout' }), 0.4)
    assert.equal(await gw.metric('hopgate_websocket_closed_total', { by: 'gateway', code: '1006' }), 1)
    await slotIsFree(t, gw, backend)
  })

  for (const speaker of ['client', 'upstream'] as const) {
    test(`bytes of the ${speaker} alone keep it open`, async t => {
      const { gw, backend } = await begin(t, 'idle_timeout: 1s')
      const { client, upstream } = await rawTunnel(t, gw.port, backend)
      const speaks = speaker === 'client' ? client : upstream
      const timer = setInterval(() => speaks.send('x'), 50)
      const since = performance.now()
      await until('twice the timeout, and more', () => performance.now() - since > 2300)
      clearInterval(timer)
      assert.equal(gw.lines.length, 0)
      assert.equal((await gw.line()).outcome, 'tunnel_idle')
    })
  }

  test('a client that reads nothing is idle, however much waits for it; one that reads slowly is not', async t => {
    const { gw, backend } = await begin(t, 'idle_timeout: 1s')
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    client.keep = false
    client.socket.pause()
    upstream.send(Buffer.alloc(64 * 1024 * 1024))
    const since = performance.now()
    // 1 MiB every 100 ms for twice the timeout and more, and then nothing more.
    let taken = 0
    const timer = setInterval(() => {
      taken += 1024 * 1024
      const target = taken
      client.socket.resume()
      const stop = (): void => {
        if (client.receivedBytes < target) return
        client.socket.removeListener('data', stop)
        client.socket.pause()
      }
      client.socket.on('data', stop)
    }, 100)
    await until('twice the timeout, and more', () => performance.now() - since > 2300)
    clearInterval(timer)
    assert.equal(gw.lines.length, 0)
    const line = await gw.line()
    assert.equal(line.outcome, 'tunnel_idle')
    await upstream.over()
  })

  test('max_lifetime ends a tunnel that is in use', async t => {
    const { gw, backend } = await begin(t, 'idle_timeout: 300ms, max_lifetime: 900ms')
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    const timer = setInterval(() => client.send('x'), 20)
    const since = performance.now()
    await upstream.over()
    clearInterval(timer)
    assert.ok(performance.now() - since >= 890)
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.stage, line['closed_by'], line['close_code']],
      ['tunnel_lifetime', 'tunnel', 'gateway', 1006],
    )
    assert.equal(await gw.metric('hopgate_timeouts_total', { timeout: 'websocket.max_lifetime' }), 1)
    await slotIsFree(t, gw, backend)
  })

  test('the request deadline ends with the handshake', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(
      t,
      simple(
        backend.url,
        'websocket: { idle_timeout: off, max_lifetime: off }, timeouts: { request: 400ms, response_headers: 300ms, body_idle: 300ms, queue: 100ms, connect: 200ms, request_write: 200ms }',
      ),
    )
    const { ws, message } = await openWebSocket(t, gw.url)
    const since = performance.now()
    await until('three times the deadline', () => performance.now() - since > 1200)
    ws.send('still here')
    assert.equal((await message()).data.toString(), 'still here')
    ws.close()
    assert.equal((await gw.line()).outcome, 'tunnel_closed')
  })
})

describe('draining', () => {
  test('readyz is red, new upgrades are refused, an open tunnel is cut at the deadline', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(t, {
      ...simple(backend.url, 'websocket: {}'),
      rest: 'drain: { delay: 10ms, deadline: 800ms }',
    })
    const { ws, message, closed } = await openWebSocket(t, gw.url)
    const idle = await openWire(t, gw.port)
    idle.send('GET /-/kept HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nX-Half: ')
    const drained = gw.gateway.drain()
    await until('red', async () => (await gw.admin('/readyz')).status === 503)
    await until('it takes no new connections', () =>
      openWire(t, gw.port).then(
        wire => {
          wire.rst()
          return false
        },
        () => true,
      ),
    )
    // On a connection that it still has.
    idle.rst()
    ws.send('still served')
    assert.equal((await message()).data.toString(), 'still served')
    assert.equal(await drained, 1)
    assert.equal((await closed).code, 1006)
    const line = gw.lines.find(({ outcome }) => outcome === 'drain_killed')
    assert.deepEqual(
      [line?.stage, line?.status, line?.party, line?.['closed_by'], line?.['close_code']],
      ['tunnel', 101, 'gateway', 'gateway', 1006],
    )
  })

  test('an upgrade on a connection that was open before is refused: draining, 503', async t => {
    const backend = await startBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const open = await openWebSocket(t, gw.url)
    const old = await openWire(t, gw.port)
    const text = handshakeText('/')
    // Half a request keeps a connection from being closed as an idle one.
    old.send(text.slice(0, 30))
    await until('both are there', async () => (await gw.metric('hopgate_client_connections')) === 2)
    const drained = gw.gateway.drain()
    await until('no new connections', () =>
      openWire(t, gw.port).then(
        wire => {
          wire.rst()
          return false
        },
        () => true,
      ),
    )
    old.send(text.slice(30))
    await old.heard(/^HTTP\/1\.1 503 .*"draining"/s)
    open.ws.close()
    await drained
  })
})

test('after many tunnels, ended in every way, no descriptor is open that was not before', async t => {
  const { gw, backend } = await begin(t, 'idle_timeout: 200ms')
  const warm = await rawTunnel(t, gw.port, backend)
  warm.client.rst()
  await warm.upstream.over()
  await gw.line()
  const settled = async (): Promise<number> => {
    await until('quiet', async () => (await gw.metric('hopgate_client_connections')) === 0)
    return openDescriptors()
  }
  const before = await settled()
  const ends: readonly ((client: Wire, upstream: Wire) => void)[] = [
    client => client.rst(),
    (_, upstream) => upstream.rst(),
    (client, upstream) => {
      client.fin()
      upstream.fin()
    },
    () => {},
  ]
  for (let round = 0; round < 5; round++) {
    for (const end of ends) {
      const { client, upstream } = await rawTunnel(t, gw.port, backend)
      end(client, upstream)
      await gw.line()
      client.socket.destroy()
      upstream.socket.destroy()
    }
  }
  await until('as many descriptors as before', async () => (await settled()) <= before)
})
