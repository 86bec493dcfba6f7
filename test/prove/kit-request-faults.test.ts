// biome-ignore-all lint/suspicious/noThenProperty: a fault is `{ on, then }`; its `then` is a word, so nothing takes it for a promise
/** Faults of a request and its answer: what a plain client sees is exactly the fault. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RequestFault } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'

/** Runs `look` against an upstream with this fault, and closes it whatever happens. */
async function against(
  fault: RequestFault,
  look: (client: RawClient, upstream: Upstream) => Promise<void>,
): Promise<void> {
  const upstream = await startUpstream(fault)
  try {
    await look(await openClient(upstream.port), upstream)
  } finally {
    await upstream.close()
  }
}

const CUTS = ['fin', 'rst'] as const

for (const how of CUTS) {
  for (const [afterBytes, where] of [
    [0, 'before'],
    ['half', 'in'],
  ] as const) {
    test(`headers ${how} ${where} the head: no status, the connection ends so`, () =>
      against({ on: 'headers', then: how, afterBytes }, async client => {
        const response = await client.request({ method: 'POST', body: 1000 }).response
        assert.deepEqual([response.status, response.complete, response.ended], [0, false, how])
        assert.equal(response.firstByteAt === undefined, afterBytes === 0)
      }))
  }

  for (const framing of ['length', 'chunked', 'close'] as const) {
    for (const afterBytes of [0, 70_000]) {
      test(`body ${how} after ${afterBytes} of 100000 bytes (${framing}): so many arrive`, () =>
        against({ on: 'body', then: how, afterBytes, answer: { body: 100_000, framing } }, async client => {
          const response = await client.request().response
          assert.deepEqual([response.status, response.body.length, response.ended], [200, afterBytes, how])
          // Only the close tells where such a body ends: a FIN cannot be told from a truncation.
          assert.equal(response.complete, framing === 'close' && how === 'fin')
        }))
    }
  }

  test(`body ${how} after the last chunk but before the 0 chunk: all bytes, and yet not complete`, () =>
    against({ on: 'body', then: how, afterBytes: 500, answer: { body: 500, framing: 'chunked' } }, async client => {
      const response = await client.request().response
      assert.deepEqual([response.body.length, response.complete, response.ended], [500, false, how])
    }))

  test(`request ${how} in the upload: after so many bytes of it`, () =>
    against({ on: 'request', then: how, afterBytes: 5000 }, async (client, upstream) => {
      const pending = client.requestHead({ method: 'POST', headers: [['Content-Length', '10000']] })
      const request = await upstream.nextRequest()
      await client.send('x'.repeat(4999))
      await request.bodyReached(4999)
      assert.equal(client.ended, undefined)
      await client.send('x')
      assert.equal((await pending.response).ended, how)
      assert.equal((await request.connection.closed).how, 'us')
    }))

  test(`headers hang: silence; the client's ${how} is seen at once`, () =>
    against({ on: 'headers', then: 'hang' }, async (client, upstream) => {
      client.request({ method: 'POST', body: 5 })
      const request = await upstream.nextRequest()
      await request.uploaded
      const leftAt = performance.now()
      client.leave(how)
      const closed = await request.connection.closed
      assert.equal(closed.how, how)
      assert.ok(closed.at - leftAt < 20, `${closed.at - leftAt} ms`)
      await upstream.allClosed()
    }))

  test(`request stop-reading: a big upload jams; the client's ${how} is seen all the same`, () =>
    against({ on: 'request', then: 'stop-reading' }, async (client, upstream) => {
      // A FIN queues behind the unsent upload, so for it to arrive the upload must fit into the kernel's buffers.
      const body = how === 'fin' ? 100_000 : 20_000_000
      client.request({ method: 'POST', body })
      const request = await upstream.nextRequest()
      if (how === 'fin') assert.equal(client.bytesWritten > 0, true)
      client.leave(how)
      const closed = await request.connection.closed
      assert.equal(closed.how, how)
      assert.ok(request.bodyBytes <= 200_000)
      await upstream.allClosed()
    }))
}

test('headers hang in the head: so many bytes, then silence', () =>
  against({ on: 'headers', then: 'hang', afterBytes: 9 }, async (client, upstream) => {
    const pending = client.request()
    await pending.firstByte
    const { connection } = await upstream.nextRequest()
    assert.equal(connection.bytesWritten, 9)
    client.leave('rst')
    await connection.closed
    assert.equal(connection.bytesWritten, 9)
  }))

test('headers drip: the head comes a few bytes at a time, then the body at once', () =>
  against({ on: 'headers', then: 'drip', pace: { bytesPerTick: 4, tickMs: 2 } }, async client => {
    const response = await client.request().response
    assert.deepEqual([response.status, response.complete], [200, true])
    const headersMs = (response.headersAt ?? 0) - (response.firstByteAt ?? 0)
    // 38 bytes are 10 ticks, 9 pauses.
    assert.ok(headersMs >= 16, `${headersMs} ms`)
  }))

test('100-continue only: one 100, then silence', () =>
  against({ on: 'headers', then: 'interim', status: 100, count: 1, everyMs: 0 }, async (client, upstream) => {
    const pending = client.request()
    await pending.interimReached(1)
    const { connection } = await upstream.nextRequest()
    assert.equal(connection.bytesWritten, 'HTTP/1.1 100 Continue\r\n\r\n'.length)
    assert.equal(pending.interim[0]?.status, 100)
  }))

test('endless 103: they come and come, until the client leaves', () =>
  against({ on: 'headers', then: 'interim', status: 103, count: 'endless', everyMs: 1 }, async (client, upstream) => {
    const pending = client.request()
    await pending.interimReached(20)
    client.leave('rst')
    assert.equal((await upstream.connections[0]?.closed)?.how, 'rst')
    assert.equal((await pending.response).status, 0)
  }))

test('some 102, then the answer', () =>
  against({ on: 'headers', then: 'interim', status: 102, count: 3, everyMs: 1, answer: {} }, async client => {
    const response = await client.request().response
    assert.deepEqual([response.interim.length, response.status], [3, 200])
  }))

test('garbage for a head: no HTTP', () =>
  against({ on: 'headers', then: 'garbage' }, async client => {
    assert.match((await client.request().response).malformed ?? '', /not a (status line|header)/)
  }))

test('header overflow: a complete answer with 256 KiB of headers', () =>
  against({ on: 'headers', then: 'overflow' }, async client => {
    const { status, headers } = await client.request().response
    const bytes = headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)
    assert.equal(status, 200)
    assert.ok(bytes >= 256 * 1024 && bytes < 257 * 1024, `${bytes} bytes`)
  }))

test('unexpected 101', () =>
  against({ on: 'headers', then: 'upgrade' }, async client => {
    const { status, headers } = await client.request().headers
    assert.deepEqual(
      [status, headers],
      [
        101,
        [
          ['Connection', 'Upgrade'],
          ['Upgrade', 'websocket'],
        ],
      ],
    )
  }))

test('body hang: head and so many bytes, then silence', () =>
  against({ on: 'body', then: 'hang', afterBytes: 1234, answer: { body: 5000 } }, async (client, upstream) => {
    const pending = client.request()
    await pending.bodyReached(1234)
    client.leave('fin')
    await upstream.connections[0]?.closed
    assert.equal(pending.bodyBytes, 1234)
  }))

test('body drip: fast up to afterBytes, a few bytes at a time from there, and whole', () =>
  against(
    {
      on: 'body',
      then: 'drip',
      afterBytes: 1000,
      pace: { bytesPerTick: 2, tickMs: 2 },
      answer: { body: 1020, framing: 'chunked' },
    },
    async client => {
      const pending = client.request()
      await pending.bodyReached(1000)
      const fastAt = performance.now()
      const response = await pending.response
      assert.deepEqual([response.complete, response.body.length], [true, 1020])
      assert.ok(response.doneAt - fastAt >= 16, `${response.doneAt - fastAt} ms`)
    },
  ))

test('a chunk header that is none', () =>
  against({ on: 'body', then: 'garbage', afterBytes: 100, answer: { body: 100 } }, async client => {
    const response = await client.request().response
    assert.deepEqual([response.status, response.body.length, response.complete], [200, 100, false])
    assert.match(response.malformed ?? '', /not a chunk size/)
  }))

for (const rest of ['read', 'stop-reading', 'fin', 'rst'] as const) {
  test(`an early 413, then ${rest}: the answer comes whole while the upload is under way`, () =>
    against({ on: 'request', then: 'answer-early', answer: { status: 413 }, rest }, async (client, upstream) => {
      const pending = client.requestHead({ method: 'POST', headers: [['Content-Length', '10']] })
      const response = await pending.response
      assert.deepEqual([response.status, response.complete], [413, true])
      const request = await upstream.nextRequest()
      if (rest === 'fin' || rest === 'rst') {
        assert.equal((await client.closed).how, rest)
        return
      }
      await client.send('0123456789')
      if (rest === 'read') {
        assert.equal((await request.uploaded).bytes, 10)
        assert.equal((await client.request().response).status, 413)
      } else {
        client.leave('rst')
        await request.connection.closed
        assert.equal(request.isUploadComplete, false)
      }
    }))
}

test('request drip: the upload is taken at its pace, then answered', () =>
  // 64 KiB at a time is what node reads: 3 MB at 64 KiB per 5 ms.
  against({ on: 'request', then: 'drip', pace: { bytesPerTick: 65_536, tickMs: 5 } }, async (client, upstream) => {
    const response = await client.request({ method: 'POST', body: 3_000_000 }).response
    assert.equal(response.status, 200)
    const request = await upstream.nextRequest()
    assert.equal(request.bodyBytes, 3_000_000)
    const tookMs = (await request.uploaded).at - request.receivedAt
    assert.ok(tookMs >= 150, `${tookMs} ms`)
  }))
