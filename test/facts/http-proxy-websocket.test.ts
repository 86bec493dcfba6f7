/**
 * Why the relay is our own (docs/decisions/websocket-relay.md): what @fastify/http-proxy does with WebSocket, and offers
 * no way to change. When one of these fails after an upgrade of the package, the decision deserves another look.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'
import { type ClientOptions, WebSocket } from 'ws'
import { startBlackHole } from '../../src/prove/black-hole.ts'
import { startRefusal } from '../../src/prove/refusal.ts'
import { startBackend, until } from '../websocket/support.ts'

const MIB = 1024 * 1024

async function startProxy(t: TestContext, upstream: string, reconnect = false): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(httpProxy, {
    upstream,
    websocket: true,
    // Newer than the package's types.
    wsClientOptions: { maxPayload: 256 * MIB, closeTimeout: 100 } as ClientOptions,
    wsServerOptions: { closeTimeout: 100 } as object,
    ...(reconnect
      ? {
          wsReconnect: {
            pingInterval: 60_000,
            maxReconnectionRetries: 100,
            reconnectInterval: 200,
            reconnectDecay: 1,
            connectionTimeout: 5000,
            reconnectOnClose: true,
          },
        }
      : {}),
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.after(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  return `ws://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

async function open(t: TestContext, url: string): Promise<WebSocket> {
  const ws = new WebSocket(url, { maxPayload: 256 * MIB, perMessageDeflate: false })
  ws.on('error', () => {})
  t.after(() => ws.terminate())
  await once(ws, 'open')
  return ws
}

test('fact 42: 101 is answered before the upstream is dialled, and one that refuses is a WebSocket that opens', async t => {
  const refusal = await startRefusal()
  t.after(() => refusal.close())
  const ws = await open(t, await startProxy(t, `http://127.0.0.1:${refusal.port}`))
  await once(ws, 'close')
})

test('fact 43: while the upstream is dialled, messages wait without a bound', async t => {
  const hole = await startBlackHole()
  t.after(() => hole.close())
  const ws = await open(t, await startProxy(t, `http://127.0.0.1:${hole.port}`))
  let taken = 0
  for (let i = 0; i < 96; i++) ws.send(Buffer.alloc(MIB), () => taken++)
  await until('96 MiB are taken for an upstream that nobody has reached', () => taken === 96 && ws.bufferedAmount === 0)
})

test('fact 44: a client that does not read holds up nobody: what the backend sends piles up in the proxy', async t => {
  const backend = await startBackend(t, { onConnection: () => {} })
  const ws = await open(t, await startProxy(t, backend.url))
  await until('the backend is there', () => backend.sockets.size === 1)
  const [sender] = backend.sockets
  ws.pause()
  let taken = 0
  for (let i = 0; i < 96; i++) sender?.send(Buffer.alloc(MIB), () => taken++)
  await until('96 MiB are taken for a client that reads nothing', () => taken === 96 && sender?.bufferedAmount === 0)
})

test('fact 45: what the client says while the backend is away is thrown away', async t => {
  const backend = await startBackend(t)
  const ws = await open(t, await startProxy(t, backend.url, true))
  const heard: string[] = []
  ws.on('message', data => heard.push(String(data)))
  ws.send('before')
  await until('the echo', () => heard.length === 1)
  await backend.kill()
  // So long it takes the proxy to see it; it waits 200 ms and more before it tries again.
  await new Promise(resolve => setTimeout(resolve, 50))
  ws.send('meanwhile')
  await startBackend(t, { port: backend.port })
  await until('the echo of a later message', () => {
    ws.send('after')
    return heard.includes('after')
  })
  assert.deepEqual(
    heard.filter(each => each === 'meanwhile'),
    [],
  )
})

test('fact 23: a RST while an async hook runs, before the upgrade is handled, ends the process', async () => {
  const program = `
    import httpProxy from '@fastify/http-proxy'
    import Fastify from 'fastify'
    import { connect } from 'node:net'
    const app = Fastify()
    let seen
    const inHook = new Promise(resolve => { seen = resolve })
    app.register(httpProxy, {
      upstream: 'http://127.0.0.1:9', websocket: true,
      preHandler: async () => { seen(); await new Promise(resolve => setTimeout(resolve, 300)) },
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const socket = connect(app.server.address().port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n')
    await inHook
    socket.resetAndDestroy()
    setTimeout(() => process.exit(0), 2000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.on('data', chunk => {
    errors += chunk
  })
  const [code] = (await once(child, 'exit')) as [number]
  assert.equal(code, 1, errors)
  assert.match(errors, /ECONNRESET/)
})
