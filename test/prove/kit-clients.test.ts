// biome-ignore-all lint/suspicious/noThenProperty: a fault is `{ on, then }`; its `then` is a word, so nothing takes it for a promise
/** Misbehaving clients: what a well-behaved upstream sees is exactly the misbehaviour. */
import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { misbehave } from '../../src/prove/client-faults.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { wasReset } from '../../src/prove/sever.ts'

const UPLOAD = { method: 'POST', body: 10_000 } as const
const HOWS = ['fin', 'rst'] as const

let upstream: Upstream
before(async () => {
  upstream = await startUpstream(request => {
    if (request.path === '/hang') return { on: 'headers', then: 'hang' }
    if (request.path === '/deaf') return { on: 'request', then: 'stop-reading' }
    return answer({ body: request.path === '/big' ? 20_000_000 : 200_000 })
  })
})
after(() => upstream.close())

for (const how of HOWS) {
  test(`connect ${how}: a connection without a byte`, async () => {
    await misbehave(upstream.port, {}, { on: 'connect', then: how })
    const connection = await upstream.nextConnection()
    assert.deepEqual([(await connection.closed).how, connection.bytesRead], [how, 0])
  })

  test(`request-headers ${how}: half a head`, async () => {
    await misbehave(upstream.port, {}, { on: 'request-headers', then: how, afterBytes: 'half' })
    const connection = await upstream.nextConnection()
    assert.equal((await connection.closed).how, how)
    assert.ok(connection.bytesRead > 10)
    assert.equal(connection.requestCount, 0)
  })

  test(`request-body ${how}: an upload cut off after 7000 of 10000 bytes`, async () => {
    await misbehave(upstream.port, UPLOAD, { on: 'request-body', then: how, afterBytes: 7000 })
    const request = await upstream.nextRequest()
    await upstream.nextConnection()
    assert.deepEqual([(await request.connection.closed).how, request.bodyBytes], [how, 7000])
    await assert.rejects(request.uploaded, /ended after 7000 body bytes/)
  })

  test(`waiting ${how}: the request is whole, its answer not awaited`, async () => {
    const { pending } = await misbehave(upstream.port, { ...UPLOAD, path: '/hang' }, { on: 'waiting', then: how })
    const { connection, bodyBytes } = await upstream.nextRequest()
    await upstream.nextConnection()
    assert.deepEqual([(await connection.closed).how, bodyBytes], [how, 10_000])
    assert.deepEqual([(await pending.response).status, (await pending.response).ended], [0, 'us'])
  })

  test(`response-body ${how}: leaves within a big answer`, async () => {
    const fault = { on: 'response-body', then: how, afterBytes: 100_000 } as const
    const { pending } = await misbehave(upstream.port, { path: '/big' }, fault)
    const { connection } = await upstream.nextRequest()
    await upstream.nextConnection()
    assert.equal((await connection.closed).how, how)
    const response = await pending.response
    assert.deepEqual([response.status, response.complete], [200, false])
    assert.ok(response.body.length >= 100_000 && response.body.length < 20_000_000)
  })
}

test('upload then vanish while the upstream does not read: the RST arrives', async () => {
  const { client } = await misbehave(
    upstream.port,
    { method: 'POST', path: '/deaf', body: 60_000 },
    { on: 'request-body', then: 'hang', afterBytes: 50_000 },
  )
  const { connection } = await upstream.nextRequest()
  await upstream.nextConnection()
  client.leave('rst')
  assert.equal((await connection.closed).how, 'rst')
})

test('a RST with an upload stuck in the socket: sent at once, not after it', async () => {
  const client = await openClient(upstream.port)
  client.request({ method: 'POST', path: '/deaf', body: 30_000_000 })
  const { connection } = await upstream.nextRequest()
  await upstream.nextConnection()
  client.leave('rst')
  assert.equal((await connection.closed).how, 'rst')
  assert.ok(connection.bytesRead < 1_000_000)
})

test('slow headers and a slow body: as many bytes as the ticks allow, and a whole request in the end', async () => {
  for (const on of ['request-headers', 'request-body'] as const) {
    const startedAt = performance.now()
    const pace = { bytesPerTick: on === 'request-headers' ? 10 : 1000, tickMs: 3 }
    const { pending, done } = await misbehave(upstream.port, UPLOAD, { on, then: 'drip', pace })
    await done
    assert.equal((await pending.response).status, 200)
    assert.ok(performance.now() - startedAt >= 15)
    assert.equal((await upstream.nextRequest()).bodyBytes, 10_000)
    await upstream.nextConnection()
  }
})

test('half-close: a FIN after the request; an upstream that allows it answers all the same', async t => {
  const lenient = await startUpstream(answer(), { keepHalfOpen: true })
  t.after(() => lenient.close())
  const { pending } = await misbehave(lenient.port, UPLOAD, { on: 'waiting', then: 'half-close' })
  assert.deepEqual([(await pending.response).status, (await pending.response).complete], [200, true])
  assert.equal((await (await lenient.nextConnection()).closed).how, 'fin')
})

test('never-reader: the upstream jams; resumed, the client gets every byte', async () => {
  const { client, pending } = await misbehave(upstream.port, { path: '/big' }, { on: 'waiting', then: 'stop-reading' })
  const request = await upstream.nextRequest()
  await upstream.nextConnection()
  assert.ok(client.bytesRead < 200_000)
  assert.equal(upstream.counters.answered < upstream.counters.requests, true)
  client.resume()
  const response = await pending.response
  assert.deepEqual([response.complete, response.body.length], [true, 20_000_000])
  await request.answered
  client.leave('fin')
})

test('never-reader: the end of the connection is seen all the same', async () => {
  for (const how of HOWS) {
    const { client } = await misbehave(upstream.port, { path: '/hang' }, { on: 'waiting', then: 'stop-reading' })
    const { connection } = await upstream.nextRequest()
    await upstream.nextConnection()
    await connection.leave(how)
    assert.equal((await client.closed).how, how)
    client.leave('rst')
  }
})

test('slow reader: at its pace on average', async () => {
  const pace = { bytesPerTick: 20_000, tickMs: 5 }
  const startedAt = performance.now()
  const { pending } = await misbehave(upstream.port, {}, { on: 'response-body', then: 'drip', pace })
  const response = await pending.response
  assert.equal(response.body.length, 200_000)
  // Ten ticks, less what the last slice (64 KiB at most) did not have to wait for.
  assert.ok(performance.now() - startedAt >= 30, `${performance.now() - startedAt} ms`)
})

test('a RST right behind unread bytes: libuv of Node 20 calls it an end, the socket knows better', async t => {
  for (const how of HOWS) {
    const server = createServer({ allowHalfOpen: true })
    t.after(() => server.close())
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const accepted = new Promise<Socket>(resolve => server.once('connection', resolve))
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    const client = await openClient(address.port)
    const socket = await accepted
    const seen: string[] = []
    const over = new Promise<void>(resolve => {
      socket.on('data', () => seen.push('data'))
      socket.on('error', (error: NodeJS.ErrnoException) => seen.push(error.code ?? ''))
      socket.on('end', () => {
        seen.push(wasReset(socket) ? 'end of a reset' : 'end')
        socket.destroy()
      })
      socket.on('close', () => resolve())
    })
    await client.send('hello')
    client.leave(how)
    await over
    // Node 24 brings the error itself.
    const resets = ['end of a reset', 'ECONNRESET']
    assert.equal(seen[0], 'data')
    assert.ok((how === 'fin' ? ['end'] : resets).includes(seen[1] ?? ''), seen.join())
  }
})

test('a RST while our FIN is under way: the descriptor is closed, not lost', async () => {
  const lenient = await startUpstream({ on: 'accept', then: 'hang' }, { keepHalfOpen: true })
  const openedBefore = openSockets()
  const client = await openClient(lenient.port)
  const connection = await lenient.nextConnection()
  client.halfClose()
  client.leave('rst')
  await connection.closed
  await lenient.close()
  // A handle is closed in the turn after its destroy; one that was lost stays for ever.
  for (let turn = 0; turn < 100 && openSockets() > openedBefore; turn++) await new Promise(setImmediate)
  assert.equal(openSockets(), openedBefore)
})

function openSockets(): number {
  return process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length
}
