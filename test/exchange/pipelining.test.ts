/** Requests that come before their turn: kept as bytes, read no further than a bound, and never without a watch on the client. */
import assert from 'node:assert/strict'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'

/** More than the kernel's buffers on loopback hold. */
const UPLOAD_BYTES = 16 * 1024 * 1024
const FIRST = 'GET /first HTTP/1.1\r\nHost: a.example\r\n\r\n'
const UPLOAD = `POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: ${UPLOAD_BYTES}\r\n\r\n`

/** What the gateway leaves unread fits into the kernel's buffers: a FIN behind it arrives. */
const FEW_BYTES = 110 * 1024

/** A client that has sent a request, and behind it so much of an upload that it is not read before its turn. */
async function unread(
  t: TestContext,
  delayHeadersMs: number,
  sentBytes: number,
): Promise<{ socket: Socket; gateway: TestGateway; upstream: Upstream }> {
  const upstream = await startUpstream(({ path }) => answer(path === '/first' ? { delayHeadersMs } : { body: 'taken' }))
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, simple(upstream.url, 'limits: { body: 64MiB }'))
  const socket = connect({ port: gateway.port, host: '127.0.0.1' }).on('error', () => {})
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(`${FIRST}${UPLOAD}`)
  socket.write(Buffer.alloc(sentBytes, 'x'))
  await upstream.nextRequest()
  return { socket, gateway, upstream }
}

test('an upload of 16 MiB behind a request that takes a while: read when it is its turn, and whole', async t => {
  const { socket, gateway, upstream } = await unread(t, 300, UPLOAD_BYTES)
  let text = ''
  socket.on('data', bytes => {
    text += bytes.toString('latin1')
  })
  const upload = await upstream.nextRequest()
  assert.match(text, /^HTTP\/1\.1 200 /, 'the upload began before the request in front of it was answered')
  while (!text.includes('taken')) await once(socket, 'data')
  assert.equal(upload.isUploadComplete, true)
  for (const path of ['/first', '/upload']) {
    const line = await gateway.line()
    assert.deepEqual([line.path, line.outcome], [path, 'completed'])
  }
  assert.equal(gateway.lines[1]?.['rx_bytes'], UPLOAD_BYTES)
})

for (const [how, leave] of [
  ['FIN', (socket: Socket) => socket.end()],
  ['RST', (socket: Socket) => socket.resetAndDestroy()],
] as const) {
  test(`a client that leaves by ${how} while its upload waits unread: the request in front of it is client_abort`, async t => {
    const { socket, gateway, upstream } = await unread(t, 60_000, FEW_BYTES)
    const asked = upstream.requests[0]
    while (socket.writableLength > 0) await once(socket, 'drain')
    leave(socket)
    const line = await gateway.line()
    assert.deepEqual([line.path, line.outcome], ['/first', 'client_abort'])
    assert.equal((await asked?.connection.closed)?.how, 'rst')
    assert.equal(upstream.counters.requests, 1)
  })
}

test('a gateway on a name: each address that the name stands for is served', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, { ...simple(upstream.url), address: 'localhost:0' })
  for (const { address } of await lookup('localhost', { all: true })) {
    const socket = connect({ port: gateway.port, host: address })
    t.after(() => socket.destroy())
    socket.write(FIRST)
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    assert.match(bytes.toString('latin1'), /^HTTP\/1\.1 200 /)
  }
})
