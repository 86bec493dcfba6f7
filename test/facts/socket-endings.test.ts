import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { cert, key } from './certificate.ts'
import { changed, dial, handleOf, listen, onlyNode20, stall, until } from './support.ts'

test('fact 28: on Node 20 a RST that arrives together with data is a clean end', onlyNode20, async t => {
  const upstream = await listen(t, () => {})
  const { socket, events } = await dial(t, upstream.port)
  await until('accepted', () => upstream.sockets.size === 1)
  for (const peer of upstream.sockets) {
    peer.write('hello')
    peer.resetAndDestroy()
  }
  stall(20)
  socket.resume()
  await until('close', () => events.includes('close'))
  assert.deepEqual(
    events,
    ['end', 'close'],
    changed('28', 'Node hides that RST', 'wasReset in upstream/connection.ts is no longer needed on this Node.'),
  )
})

for (const [how, leave, gone] of [
  ['FIN', (peer: Socket) => peer.end(), false],
  ['RST', (peer: Socket) => peer.resetAndDestroy(), true],
] as const) {
  for (const together of [true, false]) {
    test(`fact 28: after a ${how} ${together ? 'together with' : 'some time after'} data the kernel ${gone ? 'has forgotten' : 'still knows'} the peer's name`, async t => {
      const upstream = await listen(t, () => {}, { allowHalfOpen: true })
      const { socket, events } = await dial(t, upstream.port, { allowHalfOpen: true })
      let forgotten = false
      socket.on('end', () => {
        forgotten = handleOf(socket)?.getpeername({}) !== 0
      })
      socket.on('error', () => {
        forgotten = true
      })
      socket.resume()
      await until('accepted', () => upstream.sockets.size === 1)
      const [peer] = upstream.sockets
      assert.ok(peer)
      peer.write('hello')
      if (!together) await until('data', () => socket.bytesRead === 5)
      leave(peer)
      await until('end or error', () => events.length > 0)
      assert.equal(
        forgotten,
        gone,
        changed(
          '28',
          'getpeername fails after a RST and only then',
          'wasReset in upstream/connection.ts misjudges endings.',
        ),
      )
    })
  }
}

for (const together of [true, false]) {
  test(`fact 28: below TLS too, a RST ${together ? 'together with' : 'some time after'} data is an error or has taken the peer's name`, async t => {
    let peer: { raw: Socket; secure: TLSSocket } | undefined
    const upstream = await listen(t, raw => {
      const secure = new TLSSocket(raw, { isServer: true, key, cert }).on('error', () => {})
      secure.on('secure', () => {
        peer = { raw, secure }
        secure.write('hello')
      })
    })
    const { socket: raw, events } = await dial(t, upstream.port)
    const secure = connectTls({ socket: raw, ca: cert, servername: 'localhost' })
    let bytes = 0
    const seen: string[] = []
    secure.on('data', chunk => {
      bytes += chunk.length
    })
    secure.on('end', () => seen.push(handleOf(raw)?.getpeername({}) === 0 ? 'clean end' : 'reset'))
    secure.on('error', () => seen.push('reset'))
    await until('the first bytes', () => bytes === 5)
    assert.equal(
      handleOf(raw)?.getpeername({}),
      0,
      'wasReset asks the TCP socket: its handle must stay in place below TLS',
    )
    assert.ok(peer)
    if (together) peer.secure.write('more')
    peer.raw.resetAndDestroy()
    await until('close', () => events.includes('close'))
    assert.equal(
      seen[0],
      'reset',
      changed('28', 'a RST below TLS is noticed', 'See Connection in upstream/connection.ts.'),
    )
  })
}
