import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { describe, it, test } from 'node:test'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { cert, key } from './certificate.ts'
import { changed, listen, pause, until } from './support.ts'
import { answering, OK, Recorder, undiciTo } from './undici-support.ts'

const UPSTREAM_SIDE = 'See exchange/upstream-side.ts.'

test('fact 13: the lower handler interface tells all, with raw header bytes in their order and case', async t => {
  const upstream = await listen(
    t,
    answering(
      'HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 Fine\r\nX-B: 1\r\nSet-Cookie: a\r\nx-a: 2\r\nSET-COOKIE: b\r\n' +
        'Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: z\r\n\r\n',
    ),
  )
  const { send } = undiciTo(t, upstream.port)
  const got = send({})
  await until('the end', () => got.over)
  const why = changed('13', 'connect, sent, heads, data, complete', UPSTREAM_SIDE)
  assert.equal(got.events.join(' '), 'connect sent 103 200 data complete', why)
  assert.deepEqual(got.heads, [
    { status: 103, text: 'Early Hints', headers: ['Link', 'a'] },
    {
      status: 200,
      text: 'Fine',
      headers: [
        'X-B',
        '1',
        'Set-Cookie',
        'a',
        'x-a',
        '2',
        'SET-COOKIE',
        'b',
        'Transfer-Encoding',
        'chunked',
        'Trailer',
        'X-T',
      ],
    },
  ])
  assert.equal(got.body, 'hello')
  assert.deepEqual(got.trailers, ['X-T', 'z'])
})

test('fact 13: onData returning false stops the body, and the upstream by backpressure; resume() goes on', async t => {
  const size = 20_000_000
  const upstream = await listen(
    t,
    answering(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`, socket => socket.write(Buffer.alloc(size))),
  )
  const { send } = undiciTo(t, upstream.port)
  let open = false
  const got = send({}, new Recorder({ data: () => open }))
  await until('the first bytes', () => got.bytes > 0)
  const [peer] = upstream.sockets
  await pause(50)
  const why = changed('13', 'false pauses', 'A slow client would fill our memory: see upstreamData.')
  assert.equal(got.events.filter(event => event === 'data').length, 1, why)
  assert.ok((peer?.writableLength ?? 0) > 0, why)
  open = true
  got.resume?.()
  await until('all of it', () => got.completed)
  assert.equal(got.bytes, size)
})

describe("facts 10, 11, 12 and 17: undici's own timers and queue", { concurrency: true }, () => {
  it('fact 10: a headersTimeout of 50 ms fires hundreds of ms late', async t => {
    const upstream = await listen(t, () => {})
    const { send } = undiciTo(t, upstream.port, { headersTimeout: 50 })
    const from = performance.now()
    const got = send({})
    await until('the timeout', () => got.over)
    const took = performance.now() - from
    assert.equal(got.code, 'UND_ERR_HEADERS_TIMEOUT')
    assert.ok(
      took > 200,
      changed('10', 'ticks of 500 ms', `It took ${took.toFixed()} ms: our own timers may be spared.`),
    )
  })

  it('fact 11: an AbortSignal is ignored while the request waits in the queue', async t => {
    const peers: Socket[] = []
    const upstream = await listen(t, socket => {
      socket.once('data', () => peers.push(socket))
    })
    const { client, send } = undiciTo(t, upstream.port)
    const first = send({})
    let rejected = false
    const signal = AbortSignal.timeout(50)
    const second = client.request({ path: '/2', method: 'GET', signal }).catch(() => {
      rejected = true
    })
    await once(signal, 'abort')
    await pause(150)
    assert.equal(rejected, false, changed('11', 'it is ignored there', "Our own queue could be undici's after all."))
    peers[0]?.write(OK)
    await second
    assert.ok(first.completed && rejected)
  })

  it('fact 11: the queue has no bound', async t => {
    const upstream = await listen(t, () => {})
    const { send } = undiciTo(t, upstream.port)
    const all = Array.from({ length: 5000 }, () => send({}))
    await pause(50)
    assert.ok(
      all.every(got => !got.over),
      changed('11', 'it is unbounded', 'Requests are refused now that hopgate meant to wait: see Upstream.acquire.'),
    )
  })

  it('fact 12: headersTimeout does not count the time in the queue', async t => {
    const peers: Socket[] = []
    const upstream = await listen(t, socket => {
      socket.on('data', () => {
        peers.push(socket)
        if (peers.length > 1) socket.write(OK)
      })
    })
    const { send } = undiciTo(t, upstream.port)
    send({})
    const second = send({ path: '/2', headersTimeout: 300 })
    await pause(1300)
    assert.equal(second.over, false, changed('12', 'the queue is not counted', 'The deadline would fire in the queue.'))
    peers[0]?.write(OK)
    await until('the end', () => second.over)
    assert.equal(second.completed, true)
  })

  it('fact 12: bodyTimeout is off while the response is paused', async t => {
    const upstream = await listen(t, answering('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'))
    const { send } = undiciTo(t, upstream.port, { bodyTimeout: 100 })
    const got = send({}, new Recorder({ data: () => false }))
    await pause(1300)
    assert.equal(got.over, false, changed('12', 'paused is not timed', 'A slow client is blamed on its upstream.'))
  })

  it('fact 17: a response that is neither read nor aborted keeps its connection', async t => {
    const upstream = await listen(t, answering(OK))
    const { send, sockets } = undiciTo(t, upstream.port)
    const first = send({}, new Recorder({ headers: () => false }))
    await until('a head', () => first.heads.length === 1)
    const second = send({ path: '/2' })
    await pause(300)
    assert.equal(second.events.length, 0, changed('17', 'it is kept', 'Every response must be consumed or killed.'))
    sockets[0]?.resetAndDestroy()
    await until('the second has its turn', () => second.over)
  })
})

test('fact 16: Expect, Upgrade, Keep-Alive and Transfer-Encoding in a request fail at once, before any dial', async t => {
  const upstream = await listen(t, answering(OK))
  const ours = undiciTo(t, upstream.port)
  const refused: readonly (readonly [string, string])[] = [
    ['Expect', '100-continue'],
    ['Upgrade', 'websocket'],
    ['Keep-Alive', 'timeout=5'],
    ['Transfer-Encoding', 'chunked'],
  ]
  for (const [name, value] of refused) {
    const got = ours.send({ headers: ['Host', 'x', name, value] })
    assert.equal(
      got.events.join(' '),
      'error',
      changed('16', `${name} is refused`, 'request-head.ts drops it, and need not for that reason.'),
    )
  }
  assert.equal(ours.dials, 0)
})

test('fact 18: what the connector hands over may be TLS, though undici was told http:', async t => {
  const upstream = await listen(t, raw => {
    const secure = new TLSSocket(raw, { isServer: true, key, cert, ALPNProtocols: ['http/1.1'] }).on('error', () => {})
    answering(OK)(secure)
  })
  const ours = undiciTo(t, upstream.port, {
    connect: (_target, callback) => {
      const raw = connectTcp(upstream.port, '127.0.0.1').on('error', () => {})
      const secure = connectTls({ socket: raw, ca: cert, servername: 'localhost', ALPNProtocols: ['http/1.1'] })
      secure.on('error', error => callback(error, null))
      secure.once('secureConnect', () => callback(null, secure))
    },
  })
  const got = ours.send({})
  await until('the end', () => got.over)
  assert.equal(got.completed, true, changed('18', 'the scheme is ours to choose', 'See Endpoint.httpOrigin.'))
})
