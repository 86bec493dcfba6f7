/** WebSocket to an upstream that speaks TLS: the same connector, the same names for what goes wrong. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { WebSocketServer } from 'ws'
import { serverTls, testCa } from '../../src/prove/tls-fixtures.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { echo, handshakeText, openWebSocket, openWire } from './support.ts'

async function begin(t: TestContext, websocket: string, certificate: 'good' | 'unknown-ca'): Promise<TestGateway> {
  const server = createServer(serverTls(certificate))
  const sockets = new WebSocketServer({ server, maxPayload: 64 * 1024 * 1024 })
  sockets.on('connection', echo)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const ws of sockets.clients) ws.terminate()
    server.closeAllConnections()
    server.close()
  })
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-websocket-tls-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const ca = join(folder, 'ca.pem')
  writeFileSync(ca, testCa)
  const { port } = server.address() as AddressInfo
  return startTestGateway(t, {
    upstreams: `  up: { endpoints: ["https://localhost:${port}"], tls: { ca_file: "${ca}" } }`,
    routes: `  - { name: r, match: { path_prefix: / }, upstream: up, websocket: ${websocket} }`,
  })
}

for (const [mode, websocket] of [
  ['tunnel', '{}'],
  ['relay', '{ mode: relay, max_message: 16MiB }'],
] as const) {
  test(`${mode}: messages of every size come back, and the end is in good order`, async t => {
    const gw = await begin(t, websocket, 'good')
    const { ws, message, closed } = await openWebSocket(t, gw.url)
    for (const size of [0, 1, 126, 65_536, 8 * 1024 * 1024]) {
      ws.send(Buffer.alloc(size, 't'))
      assert.equal((await message()).data.length, size)
    }
    ws.close(4000)
    assert.equal((await closed).code, 4000)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line['closed_by'], line['close_code']], ['tunnel_closed', 'client', 4000])
  })

  test(`${mode}: a certificate of nobody: tls_error, 502`, async t => {
    const gw = await begin(t, websocket, 'unknown-ca')
    const client = await openWire(t, gw.port)
    client.send(handshakeText('/'))
    await client.heard(/^HTTP\/1\.1 502 /)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage], ['tls_error', 'tls'])
  })
}
