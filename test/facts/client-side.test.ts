import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import {
  changed,
  dial,
  dialReading,
  kernelState,
  onlyLinux,
  onlyNode20,
  pause,
  type RawClient,
  serve,
  turn,
  until,
} from './support.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const LARGE = Buffer.alloc(20_000_000)

interface Exchange {
  readonly client: RawClient
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** The connection's socket, kept: `res.socket` is null after a normal end. */
  readonly socket: Socket
  /** What was emitted, in order. */
  readonly events: string[]
}

/** One request of `client`, as the server sees it before it has done anything. */
async function exchange(
  t: TestContext,
  request: string,
  client: 'reads' | 'does not read',
  allowHalfOpen = false,
): Promise<Exchange> {
  let got: { req: IncomingMessage; res: ServerResponse } | undefined
  const port = await serve(
    t,
    createServer((req, res) => {
      got = { req, res }
    }),
  )
  const dialled = client === 'reads' ? await dialReading(t, port, { allowHalfOpen }) : await dial(t, port)
  dialled.socket.write(request)
  await until('the request', () => got !== undefined)
  assert.ok(got)
  const { req, res } = got
  const events: string[] = []
  for (const name of ['close', 'aborted', 'error']) req.on(name, () => events.push(`req ${name}`))
  for (const name of ['close', 'finish', 'error']) res.on(name, () => events.push(`res ${name}`))
  for (const name of ['end', 'error', 'close']) req.socket.on(name, () => events.push(`socket ${name}`))
  return { client: dialled, req, res, socket: req.socket, events }
}

test('fact 1: the request of a healthy POST emits close as soon as its body is consumed', async t => {
  const { client, req, res, events } = await exchange(
    t,
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok',
    'reads',
  )
  req.resume()
  await until('req close', () => events.includes('req close'))
  const why = changed(
    '1',
    'req close says nothing about the client',
    'It still must not be used to detect a lost client.',
  )
  assert.deepEqual(events, ['req close'], why)
  assert.equal(req.aborted, false, why)
  assert.equal(req.destroyed, true, 'which is what makes req.destroyed and request.signal of Fastify (fact 2) useless')
  res.end('fine')
  await until('the answer', () => client.text.endsWith('fine\r\n0\r\n\r\n') || client.text.endsWith('fine'))
})

for (const [how, leave] of [
  ['FIN', (socket: Socket) => socket.end()],
  ['RST', (socket: Socket) => socket.resetAndDestroy()],
] as const) {
  test(`facts 1 and 7: a client that leaves by ${how} while it waits: the response closes and is not finished`, async t => {
    const { client, res, events } = await exchange(t, GET, 'reads')
    leave(client.socket)
    await until('res close', () => events.includes('res close'))
    assert.equal(
      res.writableFinished,
      false,
      changed('1', 'res close without writableFinished is a lost client', 'See ClientSide.closed.'),
    )
    assert.ok(!events.includes('res error'), 'a lost client is no error event of the response')
  })
}

const LOSSES: readonly (readonly [string, (lost: Exchange) => void])[] = [
  ['the client resets', ({ client }) => client.socket.resetAndDestroy()],
  ['we destroy its socket', ({ socket }) => socket.destroy()],
  ['we reset its socket', ({ socket }) => socket.resetAndDestroy()],
]
for (const [who, lose] of LOSSES) {
  test(`fact 38: bytes of an ended response are pending and ${who}: at close it is not (finished, with its socket alive)`, async t => {
    const lost = await exchange(t, GET, 'does not read')
    const { res, socket } = lost
    let delivered = true
    res.on('close', () => {
      delivered = res.writableFinished && !socket.destroyed
    })
    res.end(LARGE)
    await turn()
    lose(lost)
    await until('res close', () => lost.events.includes('res close'))
    assert.equal(
      delivered,
      false,
      changed('38', 'a destroyed socket tells a loss', 'ClientSide.closed would call a lost client served.'),
    )
  })
}

test('fact 38: on Node 20 such a response even says that it finished', onlyNode20, async t => {
  const { client, res, events } = await exchange(t, GET, 'does not read')
  res.end(LARGE)
  await turn()
  client.socket.resetAndDestroy()
  await until('res close', () => events.includes('res close'))
  assert.ok(
    res.writableFinished && events.includes('res finish'),
    changed(
      '38',
      'finish is emitted for what was never flushed',
      'ClientSide.closed may trust writableFinished on this Node.',
    ),
  )
})

for (const [what, request] of [
  ['keep-alive', GET],
  ['Connection: close', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
] as const) {
  test(`fact 38: a delivered response (${what}) closes finished, with its socket alive`, async t => {
    const { res, socket, events } = await exchange(t, request, 'reads')
    let delivered: boolean | undefined
    res.on('close', () => {
      delivered = res.writableFinished && !socket.destroyed
    })
    res.end(Buffer.alloc(5_000_000))
    await until('res close', () => events.includes('res close'))
    assert.equal(
      delivered,
      true,
      changed('38', 'the socket outlives the response', 'ClientSide.closed calls it a client_abort.'),
    )
  })
}

test("fact 38: in the socket's error event, and no later, writableLength tells what was not delivered", async t => {
  const { client, res, socket, events } = await exchange(t, GET, 'does not read')
  let atError = -1
  let atClose = -1
  socket.on('error', () => {
    atError = socket.writableLength
  })
  res.on('close', () => {
    atClose = socket.writableLength
  })
  res.writeHead(200, { 'Content-Length': LARGE.length })
  res.write(LARGE)
  await turn()
  client.socket.resetAndDestroy()
  await until('res close', () => events.includes('res close'))
  const why = changed(
    '38',
    'the error event still knows',
    'ClientConnection.lostBytes, hence aborted_write_bytes, is wrong.',
  )
  assert.ok(atError >= LARGE.length, why)
  assert.equal(atClose, 0, why)
})

test('fact 4: writes to a response whose client is gone throw nothing and emit nothing', async t => {
  const { client, res, events } = await exchange(t, GET, 'reads')
  client.socket.resetAndDestroy()
  await until('res close', () => events.includes('res close'))
  await turn()
  const before = events.length
  res.write('late')
  res.end(Buffer.alloc(200_000))
  await pause(20)
  assert.deepEqual(
    events.slice(before).filter(event => event !== 'res finish'),
    [],
    changed('4', 'late writes are harmless and invisible', 'They need a guard now, beside the counter.'),
  )
})

for (const [how, leave, state] of [
  ['FIN', (socket: Socket) => socket.end(), 'CLOSE_WAIT'],
  ['RST', (socket: Socket) => socket.resetAndDestroy(), undefined],
] as const) {
  test(
    `fact 5: while a body is not read a ${how} goes unnoticed, but the kernel's table shows it`,
    onlyLinux,
    async t => {
      const body = 'x'.repeat(100_000)
      const upload = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${body}`
      const { client, req, socket, events } = await exchange(t, upload, 'reads')
      const ports = [socket.localPort ?? 0, socket.remotePort ?? 0] as const
      await until('Node has stopped reading', () => req.readableLength > 0 && socket.isPaused())
      leave(client.socket)
      await until('the kernel knows', () => kernelState(...ports) === state)
      await pause(300)
      assert.equal(
        events.join(),
        '',
        changed('5', 'Node does not notice', 'The watch of the socket table for paused uploads is no longer needed.'),
      )
      req.resume()
      await until('Node notices when it reads on', () => events.includes('res close'))
    },
  )
}

test('fact 7: a FIN while bytes of the response are pending is told by the end event of the socket alone', async t => {
  const { client, res, events } = await exchange(t, GET, 'does not read')
  res.writeHead(200, { 'Content-Length': LARGE.length + 5 })
  res.write(LARGE)
  await turn()
  client.socket.end()
  await until('end', () => events.length > 0)
  await pause(50)
  const why = changed('7', 'only end tells it', 'ClientConnection listens to end, and resets: see clientEnded.')
  assert.deepEqual(events, ['socket end'], why)
  res.write('never')
  client.socket.resume()
  await until('res close', () => events.includes('res close'))
  assert.equal(res.writableLength, 5, 'what is written after that is never sent, and nobody is told')
})

test('fact 38: a response with Connection: close ends its socket by destroySoon, which can be replaced', async t => {
  const { client, req, res, socket, events } = await exchange(
    t,
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nfirst',
    'reads',
    true,
  )
  let calls = 0
  socket.destroySoon = () => {
    calls++
    socket.end()
  }
  res.writeHead(413, ['Connection', 'close', 'Content-Length', '2'])
  res.end('no')
  await until('destroySoon', () => calls > 0)
  await until('the answer and the FIN', () => client.text.endsWith('no') && client.events.includes('end'))
  const why = changed('38', 'Node calls destroySoon, having discarded the body', 'See exchange/linger.ts.')
  assert.equal(calls, 1, why)
  assert.equal(socket.destroyed, false, why)
  const before = socket.bytesRead
  client.socket.write('the rest')
  await until('the rest is read and thrown away', () => socket.bytesRead === before + 8)
  assert.ok(req.readableFlowing, why)
  assert.ok(!events.includes('socket error'))
})

test("fact 38: bytesRead counts what Node's HTTP parser takes from a kept-alive connection", async t => {
  const { client, res, socket, events } = await exchange(t, GET, 'reads')
  res.end('ok')
  await until('res close', () => events.includes('res close'))
  const before = socket.bytesRead
  assert.equal(before, GET.length)
  client.socket.write('G')
  await until('the first byte of the next request', () => socket.bytesRead > before)
})

test('a head that is left in `_header` is written as it is, with the body, in keep-alive', async t => {
  const { client, res, events } = await exchange(t, GET, 'reads')
  Object.assign(res, {
    statusCode: 200,
    _header: 'HTTP/1.1 200 Own\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n',
  })
  res.write('hello', 'latin1')
  res.end()
  await until('finish', () => events.includes('res finish'))
  await until('the response', () => client.text.endsWith('hello'))
  assert.equal(client.text, 'HTTP/1.1 200 Own\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello')
  assert.equal(events.includes('socket close'), false)
  assert.equal(res.headersSent, true)
})
