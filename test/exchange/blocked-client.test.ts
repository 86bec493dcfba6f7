/** The upstream ends, or we end it, while its body waits for a client that does not read. */
import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

const SLICE = Buffer.alloc(32 * 1024, 'd')
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
const CHUNK = Buffer.concat([Buffer.from(`${SLICE.length.toString(16)}\r\n`), SLICE, Buffer.from('\r\n')])
const LENGTH = 64 * 1024 * 1024

const HEADS = [
  ['no length', 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'],
  ['a length and Connection: close', `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${LENGTH}\r\n\r\n`],
  ['a length', `HTTP/1.1 200 OK\r\nContent-Length: ${LENGTH}\r\n\r\n`],
] as const

/** A response whose last bytes so far are those that the client did not take any more. */
async function blocked(t: TestContext, head: string, slice: Buffer = SLICE, slicesAtOnce = 1) {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url))
  const client = await openClient(gw.port, { paused: true })
  const pending = client.request({ path: '/blocked' })
  const { connection } = await upstream.nextRequest()
  await connection.write(head)
  let sentBytes = 0
  for (;;) {
    for (let i = 0; i < slicesAtOnce; i++) {
      await connection.write(slice)
      sentBytes += slice.length
      // Each is read by itself.
      await new Promise(setImmediate)
    }
    const { body } = await gw.admin('/-/inflight')
    if ((body as { stage: string }[])[0]?.stage === 'client_write') break
  }
  return { upstream, gw, client, pending, connection, sentBytes }
}

for (const [what, head] of HEADS) {
  for (const how of ['fin', 'rst'] as const) {
    test(`an upstream that leaves by ${how} while its body of ${what} waits for the client: told as what it is`, async t => {
      const { upstream, gw, client, pending, connection, sentBytes } = await blocked(t, head)
      await connection.leave(how)
      client.resume()
      const response = await pending.response
      const line = await gw.line()
      const whole = how === 'fin' && what === 'no length'
      if (whole) assert.deepEqual([response.complete, response.body.length], [true, sentBytes])
      else assert.equal(response.complete, false)
      assert.equal(line.status, 200)
      if (whole) assert.equal(line.outcome, 'completed')
      else assert.ok(['reset', 'truncated'].includes(line.outcome), line.outcome)
      client.leave('rst')
      upstream.behave(answer())
      assert.equal((await requestOnce(gw.port)).status, 200, 'the gateway serves on')
    })

    test(`a client that leaves by ${how} while a body of ${what} waits for it: client_abort, and the gateway serves on`, async t => {
      const { upstream, gw, client, connection } = await blocked(t, head)
      client.leave(how)
      assert.equal((await connection.closed).how, 'rst')
      const line = await gw.line()
      assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'client_write', 200])
      upstream.behave(answer())
      assert.equal((await requestOnce(gw.port)).status, 200)
    })
  }
}

test('a client that takes a stream of small pieces late gets all of it', async t => {
  // Of what waits for it in the gateway there is less than Node tells of by `drain`.
  const piece = Buffer.from(`3e8\r\n${'p'.repeat(1000)}\r\n`)
  const { gw, client, pending, connection, sentBytes } = await blocked(t, CHUNKED, piece, 20)
  client.resume()
  await connection.write('0\r\n\r\n')
  const response = await pending.response
  assert.deepEqual([response.complete, response.body.length], [true, (sentBytes / piece.length) * 1000])
  assert.equal((await gw.line()).outcome, 'completed')
  client.leave('rst')
})

test('an upstream that ends its chunks and leaves while they wait for the client: the client gets all of them', async t => {
  const { gw, client, pending, connection, sentBytes } = await blocked(t, CHUNKED, CHUNK)
  await connection.write('0\r\n\r\n')
  await connection.leave('fin')
  client.resume()
  const response = await pending.response
  assert.deepEqual([response.complete, response.body.length], [true, (sentBytes / CHUNK.length) * SLICE.length])
  assert.equal((await gw.line()).outcome, 'completed')
  client.leave('rst')
})

/** The kernel's answer to what is written to the client at `port`; `undo` lets it answer by itself. */
function writesTo(port: () => number, refuse: (bytes: number, callback: (error: Error) => void) => void): () => void {
  const prototype = Socket.prototype as unknown as Writes
  const { _write, _writev } = prototype
  prototype._write = function (chunk, encoding, callback) {
    if (this.remotePort === port()) refuse(chunk.length, callback)
    else _write.call(this, chunk, encoding, callback)
  }
  prototype._writev = function (chunks, callback) {
    const bytes = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0)
    if (this.remotePort === port()) refuse(bytes, callback)
    else _writev.call(this, chunks, callback)
  }
  return () => Object.assign(prototype, { _write, _writev })
}

interface Writes extends Socket {
  _write(chunk: Buffer | string, encoding: BufferEncoding, callback: (error?: Error | null) => void): void
  _writev(chunks: Piece[], callback: (error?: Error | null) => void): void
}

interface Piece {
  readonly chunk: Buffer | string
}

const RESET = Object.assign(new Error('write ECONNRESET'), { code: 'ECONNRESET' })

for (const [when, bodyBytes, stage] of [
  ['at once', 500, 'response_body'],
  ['after it has waited', 500, 'client_write'],
  ['at once', 200_000, 'response_body'],
  ['after it has waited', 200_000, 'client_write'],
] as const) {
  // The client's RST is met by a write before anybody has read it, and Node forgets what was in that write.
  test(`a write of ${bodyBytes} bytes that the kernel refuses ${when}: they are counted as written to nobody`, async t => {
    const upstream = await startUpstream(answer({ body: bodyBytes }))
    t.after(() => upstream.close())
    const gw = await startTestGateway(t, simple(upstream.url))
    const client = await openClient(gw.port)
    let written = 0
    const refused = new Promise<(error: Error) => void>(resolve => {
      const undo = writesTo(
        () => client.localPort,
        (bytes, callback) => {
          written += bytes
          if (when === 'at once') callback(RESET)
          resolve(callback)
        },
      )
      t.after(undo)
    })
    client.request({ path: '/refused' })
    const callback = await refused
    if (when !== 'at once') {
      await new Promise(setImmediate)
      callback(RESET)
    }
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', stage, 200])
    assert.ok(written > 0)
    const counted = line['aborted_write_bytes'] as number
    assert.ok(counted >= written && counted <= bodyBytes + 1000, `${counted} bytes, of which ${written} were refused`)
    assert.equal(await gw.metric('hopgate_aborted_write_bytes_total'), counted)
    assert.ok((await gw.metric('hopgate_aborted_writes_total')) > 0)
    client.leave('rst')
  })
}
