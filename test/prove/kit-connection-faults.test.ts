// biome-ignore-all lint/suspicious/noThenProperty: a fault is `{ on, then }`; its `then` is a word, so nothing takes it for a promise
/** Faults of the dial, the accept, TLS and the idle connection: what a plain client sees is exactly the fault. */
import assert from 'node:assert/strict'
import { get } from 'node:https'
import { connect } from 'node:net'
import { test } from 'node:test'
import { sharedBlackHole, startBlackHole } from '../../src/prove/black-hole.ts'
import { answer, type CertificateName, type ConnectionFault } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { readSocketTable } from '../../src/prove/socket-table.ts'
import { testCa } from '../../src/prove/tls-fixtures.ts'

test('dial refuse: ECONNREFUSED, as often as one asks', async t => {
  const upstream = await startUpstream({ on: 'dial', then: 'refuse' })
  t.after(() => upstream.close())
  for (let dial = 0; dial < 3; dial++) await assert.rejects(openClient(upstream.port), { code: 'ECONNREFUSED' })
})

test('dial black hole: up in 300 ms; the SYN is never answered, however many dial', async () => {
  const startedAt = performance.now()
  const hole = await startBlackHole()
  assert.ok(performance.now() - startedAt < 300)
  const dials = Array.from({ length: 4 }, () => openClient(hole.port, { timeoutMs: 150 }))
  for (const dial of dials) await assert.rejects(dial, /no connection to port \d+ within 150 ms/)
  const socket = connect(hole.port, '127.0.0.1').on('error', () => {})
  await new Promise(resolve => socket.once('lookup', resolve).once('connectionAttempt', resolve))
  const rows = (await readSocketTable()).filter(row => row.remotePort === hole.port && row.state === 'SYN_SENT')
  assert.ok(rows.length >= 1)
  socket.destroy()
  await hole.close()
  await assert.rejects(openClient(hole.port), { code: 'ECONNREFUSED' })
})

test('the shared black hole: one for all, and as an upstream fault', async t => {
  assert.equal(await sharedBlackHole(), await sharedBlackHole())
  const upstream = await startUpstream({ on: 'dial', then: 'black-hole' })
  t.after(() => upstream.close())
  await assert.rejects(openClient(upstream.port, { timeoutMs: 50 }), /no connection/)
})

for (const how of ['fin', 'rst'] as const) {
  test(`accept ${how}: the connection is made, and ended before a request`, async t => {
    // Not at once: a RST that overtakes the dialler's own look at its socket fails the dial instead.
    const upstream = await startUpstream({ on: 'accept', then: how, afterMs: 10 })
    t.after(() => upstream.close())
    const client = await openClient(upstream.port)
    assert.equal((await client.closed).how, how)
    assert.equal((await (await upstream.nextConnection()).closed).how, 'us')
  })

  test(`accept hang: bytes are taken, nothing comes; the client's ${how} is seen`, async t => {
    const upstream = await startUpstream({ on: 'accept', then: 'hang' })
    t.after(() => upstream.close())
    const client = await openClient(upstream.port)
    await client.send('GET / HTTP/1.1\r\n\r\n')
    const connection = await upstream.nextConnection()
    client.leave(how)
    assert.equal((await connection.closed).how, how)
    assert.equal(connection.bytesWritten, 0)
    assert.equal(upstream.counters.requests, 0)
  })

  test(`idle ${how}: the answer is whole, the connection ends so long after it`, async t => {
    const upstream = await startUpstream({ on: 'idle', then: how, afterMs: 40 })
    t.after(() => upstream.close())
    const client = await openClient(upstream.port)
    for (let reuse = 0; reuse < 2; reuse++) assert.equal((await client.request().response).ended, 'open')
    const { doneAt } = await client.request().response
    const closed = await client.closed
    assert.equal(closed.how, how)
    assert.ok(closed.at - doneAt >= 38, `${closed.at - doneAt} ms`)
    assert.equal(upstream.counters.connections, 1)
  })
}

test('accept speak: an answer that nobody asked for', async t => {
  const bytes = 'HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n'
  const upstream = await startUpstream({ on: 'accept', then: 'speak', bytes })
  t.after(() => upstream.close())
  const client = await openClient(upstream.port)
  assert.equal((await client.expect().response).status, 408)
})

test('a stale connection: reset at the second request, before a byte of an answer', async t => {
  const upstream = await startUpstream(request =>
    request.indexOnConnection === 0 ? answer() : { on: 'request', then: 'rst' },
  )
  t.after(() => upstream.close())
  const client = await openClient(upstream.port)
  assert.equal((await client.request().response).status, 200)
  const second = await client.request().response
  assert.deepEqual([second.status, second.ended, second.firstByteAt], [0, 'rst', undefined])
})

/** The code of the error that a verifying https client meets; '' when there is none. */
function tlsError(url: string, timeoutMs = 5000): Promise<string> {
  return new Promise(resolve => {
    const request = get(url, { ca: testCa, agent: false, timeout: timeoutMs }, message => {
      message.resume()
      message.on('end', () => resolve(''))
    })
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    request.on('timeout', () => request.destroy(Object.assign(new Error(), { code: 'TIMED OUT BY THE TEST' })))
  })
}

const CERTIFICATES: readonly (readonly [CertificateName, string])[] = [
  ['good', ''],
  ['wrong-name', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['expired', 'CERT_HAS_EXPIRED'],
  ['unknown-ca', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
]
for (const [name, code] of CERTIFICATES) {
  test(`a ${name} certificate: ${code || 'trusted'}`, async t => {
    const upstream = await startUpstream(answer(), { tls: name })
    t.after(() => upstream.close())
    assert.equal(await tlsError(upstream.url), code)
    await upstream.allClosed()
  })
}

const TLS_FAULTS: readonly (readonly [ConnectionFault, string])[] = [
  [{ on: 'tls', then: 'hang' }, 'TIMED OUT BY THE TEST'],
  [{ on: 'tls', then: 'fin' }, 'ECONNRESET'],
  [{ on: 'tls', then: 'rst' }, 'ECONNRESET'],
  [{ on: 'tls', then: 'garbage' }, 'EPROTO'],
  [{ on: 'tls', then: 'certificate', which: 'expired' }, 'CERT_HAS_EXPIRED'],
]
for (const [fault, code] of TLS_FAULTS) {
  test(`tls ${fault.then}: ${code}`, async t => {
    const upstream = await startUpstream(fault)
    t.after(() => upstream.close())
    assert.equal(await tlsError(upstream.url, fault.then === 'hang' ? 60 : 5000), code)
    assert.equal(upstream.counters.requests, 0)
  })
}

test('a reset mid-body under TLS: what was sent arrives, then ECONNRESET', async t => {
  const upstream = await startUpstream({ on: 'body', then: 'rst', afterBytes: 1000 }, { tls: 'good' })
  t.after(() => upstream.close())
  const seen = await new Promise<unknown>(resolve => {
    get(upstream.url, { ca: testCa, agent: false }, message => {
      let bytes = 0
      message.on('data', chunk => {
        bytes += chunk.length
      })
      message.on('error', (error: NodeJS.ErrnoException) => resolve([bytes, error.code]))
    }).on('error', () => {})
  })
  assert.deepEqual(seen, [1000, 'ECONNRESET'])
})
