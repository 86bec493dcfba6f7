/** What src/server/upgrade.ts and src/websocket/adopt.ts lean on: how Node decides on an upgrade, and two members of `ws`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { changed } from './support.ts'

test('fact 46: Node assigns req.upgrade before the headers are there, and obeys what it reads when they are', async t => {
  const asked: [unknown, number][] = []
  class Request extends IncomingMessage {
    declare wanted: boolean | undefined
    set upgrade(value: boolean | null) {
      if (value === null) return
      asked.push([value, this.rawHeaders.length])
      this.wanted = value
    }
    get upgrade(): boolean {
      return this.wanted === true && this.headers['upgrade'] === 'yes'
    }
  }
  const told: string[] = []
  const server = createServer({ IncomingMessage: Request }, (req, res) => {
    told.push(`request ${req.headers['upgrade']}`)
    req.resume()
    res.end()
  })
  server.on('upgrade', (req, socket) => {
    told.push(`upgrade ${req.headers['upgrade']}`)
    socket.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const ask = (word: string, more = '', body = '') =>
    `POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${word}\r\n${more}\r\n${body}`
  // One after the other: what comes in one segment behind a denied upgrade is dropped by Node, with any listeners or none.
  socket.write(ask('no', 'Content-Length: 4\r\n', 'body'))
  await once(socket, 'data')
  socket.write(ask('no'))
  await once(socket, 'data')
  socket.write(ask('yes'))
  socket.resume()
  await once(socket, 'close')
  const consequence =
    'src/server/upgrade.ts has to find another way to keep a plain request from being taken for an upgrade.'
  const was = 'a request with an Upgrade that the getter denies is an ordinary one, body and keep-alive included'
  assert.deepEqual(told, ['request no', 'request no', 'upgrade yes'], changed('46', was, consequence))
  assert.deepEqual(asked[0], [true, 0], changed('46', 'assigned before the headers are', consequence))
})

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
