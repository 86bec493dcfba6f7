/** A backend that goes away, and comes back, under relayed clients: they stay, and no message is lost. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { WebSocket } from 'ws'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import {
  type Backend,
  type BackendOptions,
  type Client,
  echo,
  openDescriptors,
  openWebSocket,
  startBackend,
  startRawBackend,
  until,
} from './support.ts'

/** Attempts enough for a busy machine; the test says when the backend is back. */
const PATIENT = 'reconnect: { attempts: 200, backoff: 20ms, max_backoff: 50ms }'

interface Begun {
  readonly gw: TestGateway
  readonly backend: Backend
  /** Kills the backend, and starts another where it was. */
  restart(options?: BackendOptions): Promise<Backend>
}

async function begin(t: TestContext, relay: string, options: BackendOptions = {}): Promise<Begun> {
  const backend = await startBackend(t, options)
  const gw = await startTestGateway(
    t,
    simple(backend.url, `websocket: { mode: relay, ${relay} }`, 'pool: { max_connections: 300 }'),
  )
  const restart = async (again: BackendOptions = options): Promise<Backend> => {
    await backend.kill()
    return startBackend(t, { ...again, port: backend.port })
  }
  return { gw, backend, restart }
}

async function leave(gw: TestGateway, client: Client): Promise<Awaited<ReturnType<TestGateway['line']>>> {
  client.ws.close(1000)
  return gw.line()
}

const away = (gw: TestGateway) =>
  until('no backend', async () => (await gw.metric('hopgate_pool_connections', { state: 'active' })) === 0)

describe('the backend is away for a while', () => {
  test('what the client sends meanwhile is kept, in order, and arrives when it is back', async t => {
    const { gw, backend } = await begin(t, PATIENT)
    const client = await openWebSocket(t, gw.url)
    client.ws.send('before')
    assert.equal((await client.message()).data.toString(), 'before')
    await backend.kill()
    await away(gw)
    for (let i = 0; i < 100; i++) client.ws.send(`meanwhile ${i}`)
    await startBackend(t, { port: backend.port })
    for (let i = 0; i < 100; i++) assert.equal((await client.message()).data.toString(), `meanwhile ${i}`)
    const line = await leave(gw, client)
    assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], ['tunnel_closed', 'client', 1000])
    assert.ok(Number(line['attempts']) >= 2)
    assert.equal(await gw.metric('hopgate_websocket_reconnects_total', { route: 'r', result: 'connected' }), 1)
    assert.equal(await gw.metric('hopgate_websocket_reconnects_total', { result: 'given_up' }), 0)
  })

  for (const code of [1001, 1012]) {
    test(`a backend that says ${code} is one that comes back`, async t => {
      const { gw, backend } = await begin(t, PATIENT)
      const client = await openWebSocket(t, gw.url)
      client.ws.send('x')
      await client.message()
      for (const ws of backend.sockets) ws.close(code)
      await until('reached again', async () => {
        return (await gw.metric('hopgate_websocket_reconnects_total', { result: 'connected' })) === 1
      })
      client.ws.send('again')
      assert.equal((await client.message()).data.toString(), 'again')
      await leave(gw, client)
    })
  }

  test('a message that the old backend never read is sent to the new one: sent is not read', async t => {
    // Accepts, answers the handshake, and then neither reads nor answers pings: what is sent to it is lost with it.
    const { gw, backend, restart } = await begin(t, PATIENT, { onConnection: ws => ws.pause() })
    const client = await openWebSocket(t, gw.url)
    await until('it is there', () => backend.sockets.size === 1)
    for (let i = 0; i < 50; i++) client.ws.send(`unread ${i}`)
    await until('all are sent', async () => {
      return (await gw.metric('hopgate_websocket_bytes_total', { direction: 'in' })) === 10 * 8 + 40 * 9
    })
    await restart({ onConnection: echo })
    for (let i = 0; i < 50; i++) assert.equal((await client.message()).data.toString(), `unread ${i}`)
    await leave(gw, client)
  })

  test('a message that is proven read is not sent again', async t => {
    const seen: string[] = []
    const onConnection = (ws: WebSocket): void => {
      ws.on('message', data => {
        seen.push(String(data))
        ws.send('seen')
      })
    }
    const { gw, backend, restart } = await begin(t, PATIENT, { onConnection })
    const client = await openWebSocket(t, gw.url)
    let pinged = 0
    for (const ws of backend.sockets) ws.on('ping', () => pinged++)
    client.ws.send('once')
    await client.message()
    // Its pong leaves with, or right behind, the ping; this message is behind both.
    await until('the question', () => pinged >= 1)
    client.ws.send('twice at most')
    await client.message()
    await restart()
    client.ws.send('after')
    await until('the last', () => seen.at(-1) === 'after')
    assert.equal(seen.filter(each => each === 'once').length, 1)
    await leave(gw, client)
  })

  test('a client that says its last word and leaves meanwhile: the word is delivered, and then the goodbye', async t => {
    const { gw, backend } = await begin(t, PATIENT)
    const client = await openWebSocket(t, gw.url)
    client.ws.send('x')
    await client.message()
    await backend.kill()
    await away(gw)
    client.ws.send('last word')
    client.ws.close(4000, 'bye')
    assert.equal((await client.closed).code, 4000)
    const heard: unknown[] = []
    await startBackend(t, {
      port: backend.port,
      onConnection: ws => {
        ws.on('message', data => heard.push(String(data)))
        ws.on('close', code => heard.push(code))
      },
    })
    await until('both', () => heard.length === 2)
    assert.deepEqual(heard, ['last word', 4000])
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], ['tunnel_closed', 'client', 4000])
  })

  test('a client that says much and leaves at once: all of it arrives, and the line has no complaint', async t => {
    const heard: string[] = []
    const { gw } = await begin(t, PATIENT, { onConnection: ws => ws.on('message', data => heard.push(String(data))) })
    const client = await openWebSocket(t, gw.url)
    for (let i = 0; i < 500; i++) client.ws.send(`word ${i}`)
    client.ws.close(1000)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['closed_by'], line['error']], ['tunnel_closed', 'client', undefined])
    assert.deepEqual(
      heard,
      Array.from({ length: 500 }, (_, i) => `word ${i}`),
    )
  })

  test('more than max_buffered meanwhile: closed with 1013, and the line says how much was not delivered', async t => {
    const { gw, backend } = await begin(t, `max_buffered: 64KiB, ${PATIENT}`)
    const client = await openWebSocket(t, gw.url)
    client.ws.send('x')
    await client.message()
    await backend.kill()
    await away(gw)
    for (let i = 0; i < 9; i++) client.ws.send(Buffer.alloc(8 * 1024))
    assert.equal((await client.closed).code, 1013)
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.party, line['closed_by'], line['close_code']],
      ['tunnel_error', 'upstream', 'gateway', 1013],
    )
    assert.match((line['error'] as { message: string }).message, /^9 messages of the client were not delivered/)
    assert.equal(await gw.metric('hopgate_websocket_closed_total', { mode: 'relay', by: 'gateway', code: '1013' }), 1)
  })

  test('a backend that does not answer pings is left for another', async t => {
    const { gw, backend } = await begin(t, `ping_interval: 600ms, idle_timeout: off, ${PATIENT}`, {
      onConnection: ws => {
        // The first hangs, with its connection open; those after it are well.
        if (!hung) {
          hung = true
          ws.pause()
        } else echo(ws)
      },
    })
    let hung = false
    const client = await openWebSocket(t, gw.url)
    client.ws.send('for whoever is there')
    assert.equal((await client.message()).data.toString(), 'for whoever is there')
    assert.ok((await gw.metric('hopgate_timeouts_total', { timeout: 'websocket.ping_interval' })) >= 1)
    assert.equal(backend.requests.length, 2)
    await leave(gw, client)
  })

  test('another endpoint of the upstream takes over', async t => {
    const [one, two] = [await startBackend(t), await startBackend(t)]
    const gw = await startTestGateway(t, {
      upstreams: `  up: { endpoints: ["${one.url}", "${two.url}"], balance: round_robin }`,
      routes: `  - { name: r, match: { path_prefix: / }, upstream: up, websocket: { mode: relay, ${PATIENT} } }`,
    })
    const client = await openWebSocket(t, gw.url)
    client.ws.send('x')
    await client.message()
    const [first, second] = one.sockets.size === 1 ? [one, two] : [two, one]
    await first.kill()
    client.ws.send('again')
    assert.equal((await client.message()).data.toString(), 'again')
    assert.equal(second.sockets.size, 1)
    const line = await leave(gw, client)
    assert.equal(line['endpoint'], second.url)
  })
})

describe('the backend does not come back', () => {
  test('after the attempts: 1011 to the client, tunnel_error of the upstream', async t => {
    const { gw, backend } = await begin(t, 'reconnect: { attempts: 3, backoff: 10ms, max_backoff: 20ms }')
    const client = await openWebSocket(t, gw.url)
    client.ws.send('x')
    await client.message()
    await backend.kill()
    assert.equal((await client.closed).code, 1011)
    const line = await gw.line()
    assert.deepEqual(
      [line.outcome, line.party, line['closed_by'], line['close_code'], (line['error'] as { code: string }).code],
      ['tunnel_error', 'upstream', 'gateway', 1011, 'ECONNREFUSED'],
    )
    assert.equal(await gw.metric('hopgate_websocket_reconnects_total', { result: 'failed' }), 3)
    assert.equal(await gw.metric('hopgate_websocket_reconnects_total', { result: 'given_up' }), 1)
  })

  test('reconnect: off closes the client at once', async t => {
    const { gw, backend } = await begin(t, 'reconnect: off')
    const client = await openWebSocket(t, gw.url)
    client.ws.send('x')
    await client.message()
    await backend.kill()
    assert.equal((await client.closed).code, 1011)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.party, line['closed_by']], ['tunnel_error', 'upstream', 'upstream'])
    assert.equal(await gw.metric('hopgate_websocket_reconnects_total'), 0)
  })

  test('one that answers the handshake with 503, or hangs in it, is not there', async t => {
    const raw = await startRawBackend(t)
    const gw = await startTestGateway(
      t,
      simple(
        raw.url,
        'websocket: { mode: relay, reconnect: { attempts: 2, backoff: 10ms, max_backoff: 20ms } }, timeouts: { response_headers: 300ms }',
      ),
    )
    const opening = openWebSocket(t, gw.url)
    const first = await raw.next()
    const { createHash } = await import('node:crypto')
    const [, key = ''] = /^Sec-WebSocket-Key: (.*)\r$/m.exec(first.text) ?? []
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    first.send(`HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
    const client = await opening
    first.rst()
    const second = await raw.next()
    assert.doesNotMatch(second.text, new RegExp(key.replace(/[+/]/g, '\\$&')), 'a key of its own')
    second.send('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n')
    await raw.next()
    assert.equal((await client.closed).code, 1011)
    const line = await gw.line()
    assert.equal((line['error'] as { code: string }).code, 'response_headers_timeout')
  })
})

test('a backend restarts under 100 clients that talk: none loses its connection, none a message', async t => {
  const COUNT = 100
  const { gw, backend, restart } = await begin(t, PATIENT)
  const clients = await Promise.all(Array.from({ length: COUNT }, () => openWebSocket(t, gw.url)))
  let gone = 0
  for (const { closed } of clients) void closed.then(() => gone++)
  await until('all are there', () => backend.sockets.size === COUNT)
  const before = openDescriptors()
  // Every client says a number every few ms, through the restart; the echo says which arrived.
  const heard = clients.map(() => new Set<number>())
  clients.forEach(({ ws }, i) => {
    ws.on('message', data => heard[i]?.add(Number(data)))
  })
  let said = 0
  const timer = setInterval(() => {
    for (const { ws } of clients) ws.send(String(said))
    said++
  }, 10)
  t.after(() => clearInterval(timer))
  await until('some words', () => said > 10)
  await restart()
  await until('all are back', async () => {
    return (await gw.metric('hopgate_websocket_reconnects_total', { result: 'connected' })) === COUNT
  })
  const since = said
  await until('some more words', () => said > since + 10)
  clearInterval(timer)
  await until('every word of every client', () => heard.every(words => words.size === said))
  assert.equal(gone, 0)
  assert.equal(gw.lines.length, 0)
  assert.equal(await gw.metric('hopgate_websocket_connections', { mode: 'relay' }), COUNT)
  for (const { ws } of clients) ws.close()
  await until('all are over', () => gw.lines.length === COUNT)
  for (const line of gw.lines) assert.equal(line.outcome, 'tunnel_closed')
  assert.ok(openDescriptors() <= before)
})
