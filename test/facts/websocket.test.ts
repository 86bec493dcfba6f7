/** What src/websocket/adopt.ts and outbox.ts lean on: two members of `ws`, and that it leaves what it sends alone. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { changed } from './support.ts'

test('fact 47: a WebSocket of ws made without an address takes a socket by setSocket, in the role of _isServer', async () => {
  const consequence =
    'src/websocket/adopt.ts has to find another way to speak WebSocket on a connection that has shaken hands.'
  const make = (isServer: boolean): WebSocket & { setSocket(socket: unknown, head: Buffer, options: object): void } => {
    const ws = new (WebSocket as unknown as new (a: null, b: undefined, c: object) => ReturnType<typeof make>)(
      null,
      undefined,
      { autoPong: true, closeTimeout: 1000 },
    )
    Object.assign(ws, { _isServer: isServer, _bufferedAmount: 0 })
    return ws
  }
  const [server, client] = [make(true), make(false)]
  for (const ws of [server, client]) {
    assert.equal(typeof ws.setSocket, 'function', changed('47', 'there is a setSocket', consequence))
  }
  const [a, b] = duplexPair()
  const heard: string[] = []
  server.on('message', (data: Buffer) => {
    heard.push(`server ${data}`)
    server.send('pong')
  })
  client.on('message', (data: Buffer) => {
    heard.push(`client ${data}`)
    client.close(4000)
  })
  const closed = once(server, 'close')
  server.setSocket(a, Buffer.alloc(0), { maxPayload: 100, allowSynchronousEvents: true })
  client.setSocket(b, Buffer.alloc(0), { maxPayload: 100, allowSynchronousEvents: true })
  client.send('ping')
  assert.equal((await closed)[0], 4000)
  assert.deepEqual(heard, ['server ping', 'client pong'], changed('47', 'each masks as its role wants', consequence))
})

test('fact 48: ws sends a Buffer masked without touching it: what is kept to be sent again is still what it was', async () => {
  const [a] = duplexPair()
  const ws = new (WebSocket as unknown as new (a: null, b: undefined, c: object) => WebSocket)(null, undefined, {})
  Object.assign(ws, { _isServer: false, _bufferedAmount: 0 })
  ;(ws as unknown as { setSocket(socket: unknown, head: Buffer, options: object): void }).setSocket(
    a,
    Buffer.alloc(0),
    {},
  )
  const kept = Buffer.from('x'.repeat(1000))
  ws.send(kept)
  assert.equal(
    kept.toString(),
    'x'.repeat(1000),
    changed('48', 'a copy is masked', 'src/websocket/outbox.ts has to copy.'),
  )
  ws.terminate()
})
