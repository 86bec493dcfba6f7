/** Tunnels in bulk: memory stays flat behind a slow reader, and thousands that say nothing cost nothing but their sockets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simple, startTestGateway } from '../support/gateway.ts'
import {
  handshakeText,
  openDescriptors,
  openWire,
  rawTunnel,
  SWITCHING,
  startRawBackend,
  until,
  type Wire,
} from './support.ts'

const MIB = 1024 * 1024
const IN_FLIGHT = 64 * MIB
const CHUNK = Buffer.alloc(64 * 1024, 'm')
/** What the buffers of one tunnel may take beside the kernel's, and what a test process does meanwhile. */
const FLAT_BYTES = 12 * MIB

/** Buffers are outside of V8's heap, and they are what a tunnel without backpressure would pile up. */
const buffered = (): number => {
  const { external } = process.memoryUsage()
  return external
}

for (const reader of ['client', 'upstream'] as const) {
  test(`64 MiB for a ${reader} that does not read: the sender is held up, memory stays flat, nothing is lost`, async t => {
    const backend = await startRawBackend(t)
    const gw = await startTestGateway(t, simple(backend.url, 'websocket: {}'))
    const { client, upstream } = await rawTunnel(t, gw.port, backend)
    const [slow, sender] = reader === 'client' ? [client, upstream] : [upstream, client]
    slow.keep = false
    slow.socket.pause()
    const before = buffered()
    let sent = 0
    const send = (): void => {
      while (sent < IN_FLIGHT) {
        sent += CHUNK.length
        if (!sender.socket.write(CHUNK)) {
          sender.socket.once('drain', send)
          return
        }
      }
      sender.fin()
    }
    send()
    // It moves in leaps while the kernel's buffers grow: held up is what has not moved for a while.
    let last = -1
    let since = performance.now()
    await until('the sender is held up', () => {
      if (sent !== last) {
        last = sent
        since = performance.now()
      }
      return performance.now() - since > 500
    })
    assert.ok(sent < IN_FLIGHT, `${sent / MIB} MiB were taken for a peer that reads nothing`)
    assert.ok(buffered() - before < FLAT_BYTES, `${(buffered() - before) / MIB} MiB more`)
    slow.socket.resume()
    assert.equal(await slow.over(), 'fin')
    assert.equal(slow.receivedBytes, IN_FLIGHT)
    slow.fin()
    const line = await gw.line()
    assert.equal(line.outcome, 'tunnel_closed')
    assert.equal(line[reader === 'client' ? 'tx_bytes' : 'rx_bytes'], IN_FLIGHT)
    const direction = reader === 'client' ? 'out' : 'in'
    assert.equal(await gw.metric('hopgate_websocket_bytes_total', { direction }), IN_FLIGHT)
  })
}

test('2000 idle tunnels: each counted, each shown, none costs more than its sockets, all gone at the end', async t => {
  const COUNT = 2000
  const backend = await startRawBackend(t, wire => {
    wire.socket.once('data', () => wire.send(SWITCHING))
  })
  const gw = await startTestGateway(
    t,
    simple(backend.url, 'websocket: {}, limits: { in_flight: 5000 }', `pool: { max_connections: ${COUNT} }`),
  )
  const before = openDescriptors()
  const open = async (): Promise<Wire> => {
    const wire = await openWire(t, gw.port)
    wire.send(handshakeText('/'))
    await wire.heard(/^HTTP\/1\.1 101 .*\r\n\r\n/s)
    return wire
  }
  const wires: Wire[] = []
  while (wires.length < COUNT) wires.push(...(await Promise.all(Array.from({ length: 100 }, open))))
  assert.equal(await gw.metric('hopgate_websocket_connections', { route: 'r', mode: 'tunnel' }), COUNT)
  assert.equal(await gw.metric('hopgate_inflight_requests', { route: 'r' }), COUNT)
  assert.equal(await gw.metric('hopgate_pool_connections', { state: 'active' }), COUNT)
  const { body } = await gw.admin('/-/inflight')
  assert.equal((body as unknown[]).length, COUNT)
  // One more waits for a slot like any exchange.
  const extra = await openWire(t, gw.port)
  extra.send(handshakeText('/'))
  await extra.heard(/^HTTP\/1\.1 503 .*"queue_timeout"/s)
  // Each still works.
  const [some, theirs] = [wires[1234] as Wire, backend.wires]
  some.send('ping')
  await until('the word', () => theirs.some(({ text }) => text.endsWith('ping')))
  for (const wire of wires) wire.rst()
  await until('all are over', () => gw.lines.length === COUNT + 1)
  assert.equal(await gw.metric('hopgate_websocket_connections'), 0)
  extra.rst()
  // The connections to the admin listener are kept alive.
  await until('no descriptor is left', () => openDescriptors() <= before + 8)
})
