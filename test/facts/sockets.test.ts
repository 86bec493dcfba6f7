import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { cert, key } from './certificate.ts'
import { changed, dial, handleOf, kernelState, listen, onlyLinux, pause, stall, turn, until } from './support.ts'

const MEGABYTE = Buffer.alloc(1_000_000)

const LEAVES_AT_ONCE: readonly (readonly [string, (socket: Socket) => void])[] = [
  ['nothing pending', () => {}],
  ['20 MB pending in one write', socket => socket.write(Buffer.alloc(20_000_000))],
  [
    '20 MB pending in many writes',
    socket => {
      for (let i = 0; i < 20; i++) socket.write(MEGABYTE)
    },
  ],
  ['20 MB pending and end() called', socket => socket.end(Buffer.alloc(20_000_000))],
]

for (const [when, prepare] of LEAVES_AT_ONCE) {
  test(
    `fact 34, corrected: resetAndDestroy() with ${when}: no trace of the connection is left within a turn`,
    onlyLinux,
    async t => {
      const upstream = await listen(t, () => {}, { pauseOnConnect: true, allowHalfOpen: true })
      const { socket, events } = await dial(t, upstream.port)
      const localPort = socket.localPort ?? 0
      prepare(socket)
      await pause(20)
      socket.resetAndDestroy()
      await turn()
      assert.equal(
        kernelState(localPort, upstream.port),
        undefined,
        changed(
          '34',
          'resetAndDestroy() does not wait for pending writes',
          'Aborts would linger: see Connection.kill.',
        ),
      )
      await until('close', () => events.length > 0)
      assert.deepEqual(events, ['close'], 'a reset of our own is reported by close alone, never as an error')
    },
  )
}

test('fact 14: a plain destroy() sends a FIN and leaves TIME_WAIT on our side', onlyLinux, async t => {
  const upstream = await listen(t, socket => socket.resume())
  const { socket } = await dial(t, upstream.port)
  const localPort = socket.localPort ?? 0
  socket.destroy()
  await until('TIME_WAIT', () => kernelState(localPort, upstream.port) === 'TIME_WAIT')
})

test('fact 36: resetAndDestroy() of a socket that is still connecting waits for the connection: a dial is ended by destroy()', async t => {
  const upstream = await listen(t, socket => socket.resume())
  const socket = connectTcp(upstream.port, '127.0.0.1')
  socket.resetAndDestroy()
  assert.equal(
    socket.destroyed,
    false,
    changed('36', 'it waits while connecting', 'dial.ts need not choose between destroy() and resetAndDestroy().'),
  )
  await once(socket, 'close')
})

test('fact 37: resetAndDestroy() of the TCP socket below a TLS one resets at once, and both emit close', async t => {
  for (const pending of [0, 20]) {
    const peerErrors: string[] = []
    let secured = false
    const upstream = await listen(t, raw => {
      const secure = new TLSSocket(raw, { isServer: true, key, cert })
      secure.on('error', (error: NodeJS.ErrnoException) => peerErrors.push(error.code ?? error.message))
      secure.on('secure', () => {
        secured = true
      })
      if (pending === 0) secure.resume()
    })
    const { socket: raw, events } = await dial(t, upstream.port)
    const secure = connectTls({ socket: raw, ca: cert, servername: 'localhost' })
    secure.on('error', () => {})
    const closed = once(secure, 'close')
    await once(secure, 'secureConnect')
    await until('the peer is secure, too', () => secured)
    for (let i = 0; i < pending; i++) secure.write(MEGABYTE)
    await pause(10)
    raw.resetAndDestroy()
    secure.destroy()
    await closed
    await until('close of the TCP socket', () => events.includes('close'))
    assert.deepEqual(events, ['close'])
    if (pending > 0) continue
    await until('the peer hears of it', () => upstream.sockets.size === 0)
    assert.deepEqual(
      [...peerErrors, ...upstream.errors],
      ['ECONNRESET'],
      changed('37', 'a reset below TLS reaches the peer as a RST', 'See Connection.kill and dial.ts.'),
    )
  }
})

test('fact 37: a TLS socket cannot be reset itself: resetAndDestroy() throws', async t => {
  const upstream = await listen(t, raw =>
    new TLSSocket(raw, { isServer: true, key, cert }).on('error', () => {}).resume(),
  )
  const { socket: raw } = await dial(t, upstream.port)
  const secure = connectTls({ socket: raw, ca: cert, servername: 'localhost' }).on('error', () => {})
  await once(secure, 'secureConnect')
  assert.throws(
    () => secure.resetAndDestroy(),
    { code: 'ERR_INVALID_HANDLE_TYPE' },
    changed('37', 'TLSSocket has no reset', 'Connection.kill need no longer know the TCP socket below TLS.'),
  )
  secure.destroy()
})

for (const layer of ['TCP', 'TLS'] as const) {
  test(`fact 38: bytesWritten less writeQueueSize grows as the kernel takes parts of one large ${layer} write`, async t => {
    let peer: Socket | undefined
    const upstream = await listen(t, raw => {
      peer = layer === 'TCP' ? raw : new TLSSocket(raw, { isServer: true, key, cert }).on('error', () => {})
    })
    const { socket: raw } = await dial(t, upstream.port)
    let socket = raw
    if (layer === 'TLS') {
      socket = connectTls({ socket: raw, ca: cert, servername: 'localhost' }).on('error', () => {})
      await once(socket, 'secureConnect')
    }
    await until('accepted', () => peer !== undefined)
    peer?.pause()
    const taken = (): number => (handleOf(raw)?.bytesWritten ?? 0) - (handleOf(raw)?.writeQueueSize ?? 0)
    const size = 30_000_000
    const before = taken()
    socket.write(Buffer.alloc(size))
    let stuckAt = -1
    await until('the kernel takes no more', () => {
      const still = taken() === stuckAt
      stuckAt = taken()
      return still && stuckAt > before
    })
    const why = changed('38', 'writeQueueSize is a live value', 'FlushWatch sees no progress within one write.')
    assert.ok(stuckAt - before < size, why)
    assert.ok(socket.writableLength >= size, 'writableLength stays at the whole write until it is done')
    let read = 0
    let stopAt = size / 2
    peer?.on('data', (chunk: Buffer) => {
      read += chunk.length
      if (read > stopAt) peer?.pause()
    })
    peer?.resume()
    await until('half of it read', () => read > stopAt)
    await until('progress', () => taken() > stuckAt)
    assert.ok(taken() - before < size, why)
    assert.ok(socket.writableLength >= size, 'still the whole write')
    stopAt = size
    peer?.resume()
    await until('all read', () => read === size)
    await until('all taken', () => taken() - before >= size && socket.writableLength === 0)
  })
}

test('fact 32: after a stall the timers run before the sockets are read, and one setImmediate later they are read', async t => {
  const upstream = await listen(t, () => {})
  const { socket } = await dial(t, upstream.port)
  socket.resume()
  await until('accepted', () => upstream.sockets.size === 1)
  const order: string[] = []
  socket.once('data', () => order.push('data'))
  const over = new Promise<void>(resolve =>
    setTimeout(() => {
      order.push('timer')
      setImmediate(() => {
        order.push('immediate')
        resolve()
      })
    }, 5),
  )
  await turn()
  for (const peer of upstream.sockets) peer.write('in time')
  stall(30)
  await over
  assert.deepEqual(
    order,
    ['timer', 'data', 'immediate'],
    changed(
      '32',
      'timers come before reads',
      'Deadlines looks once more after a setImmediate before it calls a timeout.',
    ),
  )
})

for (const lingers of [false, true]) {
  const what = lingers ? 'that reads on after its FIN delivers its answer' : 'destroyed with unread bytes is reset'
  test(`fact 34: a connection ${what}`, async t => {
    const gateway = await listen(t, () => {}, { allowHalfOpen: true, pauseOnConnect: true })
    const { socket, events } = await dial(t, gateway.port)
    let text = ''
    let clean = false
    socket.on('data', chunk => {
      text += chunk
    })
    socket.on('end', () => {
      clean = handleOf(socket)?.getpeername({}) === 0
    })
    socket.write(Buffer.alloc(50_000))
    await until('the kernel has the upload', () => socket.writableLength === 0 && gateway.sockets.size === 1)
    const [ours] = gateway.sockets
    ours?.write('413')
    if (lingers) {
      ours?.end()
      ours?.resume()
    } else {
      ours?.destroy()
    }
    await until('close', () => events.includes('close'))
    assert.equal(clean, lingers, changed('34', 'unread bytes turn a close into a RST', 'See exchange/linger.ts.'))
    if (lingers) assert.equal(text, '413')
  })
}

test('fact 42: what a socket has written when write() returns needs its buffer no more; what waits does', async t => {
  const peer = await listen(t, () => {}, { pauseOnConnect: true })
  const { socket } = await dial(t, peer.port)
  const buffer = Buffer.alloc(4096, 'a')
  socket.write(buffer)
  assert.equal(socket.writableLength, 0, changed('42', 'a write that the kernel takes is over at once', ''))
  buffer.fill('b')
  // More than any socket buffer: a part of it stays here.
  socket.write(Buffer.alloc(64 * 1024 * 1024))
  assert.ok(
    socket.writableLength > 0,
    changed(
      '42',
      'writableLength counts what waits',
      'See ClientSide.#giveBack: buffers would be read into too early.',
    ),
  )
  await until('the peer has the connection', () => peer.sockets.size === 1)
  const [other] = peer.sockets
  other?.resume()
  const [first] = (await once(other as Socket, 'data')) as [Buffer]
  assert.equal(first[0], 'a'.charCodeAt(0))
})
