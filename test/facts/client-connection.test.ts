/**
 * What src/server/accept.ts, src/exchange/client-connection.ts and client-side.ts lean on: how Node accepts, what a socket
 * tells of its writes, and when it says that a client is lost.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type Accepted, type Peername, socketOf, takeAccepted } from '../../src/server/accept.ts'
import {
  changed,
  dial,
  dialReading,
  kernelState,
  listen,
  onlyLinux,
  onlyNode20,
  pause,
  portOf,
  type RawClient,
  turn,
  until,
} from './support.ts'

const LARGE = Buffer.alloc(20_000_000)

interface Pair {
  readonly client: RawClient
  /** At the server's end. */
  readonly socket: Socket
  /** What the socket emitted, in order. */
  readonly events: string[]
}

async function pair(t: TestContext, client: 'reads' | 'does not read'): Promise<Pair> {
  let socket: Socket | undefined
  const events: string[] = []
  const { port } = await listen(
    t,
    accepted => {
      socket = accepted
      for (const name of ['end', 'error', 'close']) accepted.on(name, () => events.push(name))
    },
    { allowHalfOpen: true },
  )
  const dialled = client === 'reads' ? await dialReading(t, port) : await dial(t, port)
  await until('the connection', () => socket !== undefined)
  assert.ok(socket)
  return { client: dialled, socket, events }
}

const ACCEPTS = 'See server/accept.ts: it accepts in place of Node.'

test('fact 50: a listening handle hands accepted connections to its onconnection, and a Socket made of one reads into buffers of ours', async t => {
  const server = createServer()
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const handles: Accepted[] = []
  takeAccepted(server, accepted => handles.push(accepted))
  const client = await dialReading(t, portOf(server))
  await until('the connection', () => handles.length === 1)
  const name: Peername = {}
  const [accepted] = handles
  assert.ok(accepted)
  assert.equal(accepted.getpeername(name), 0, changed('50', 'a handle tells its peer', ACCEPTS))
  assert.deepEqual([name.address, name.port], ['127.0.0.1', client.socket.localPort])

  const buffers = [Buffer.alloc(16), Buffer.alloc(16)] as const
  const told: string[] = []
  let asked = 0
  const socket = socketOf(accepted, {
    buffer: () => buffers[asked++ % 2] as Buffer<ArrayBuffer>,
    callback: (length, buffer) => {
      told.push(
        `${buffers.indexOf(buffer as Buffer<ArrayBuffer>)} ${Buffer.from(buffer).toString('latin1', 0, length)}`,
      )
      return true
    },
  })
  t.after(() => socket.destroy())
  const events: string[] = []
  for (const event of ['data', 'end', 'close']) socket.on(event, () => events.push(event))
  client.socket.write('first')
  await until('the first read', () => told.length === 1)
  socket.pause()
  client.socket.write('second')
  await pause(50)
  assert.equal(
    told.length,
    1,
    changed('50', 'pause() stops the reading of such a socket', 'See ClientConnection.pause.'),
  )
  socket.resume()
  await until('the second read', () => told.length === 2)
  assert.deepEqual(told, ['0 first', '1 second'], changed('50', 'each read asks for its buffer', ACCEPTS))
  client.socket.end()
  await until('its end', () => events.includes('end'))
  assert.deepEqual(events, ['end'], changed('50', 'a FIN is told by end, and does not close', ACCEPTS))
  socket.end('answer')
  await until('the answer and the close', () => client.text === 'answer' && events.includes('close'))
})

test(
  'fact 51: an object that is spread and then added to has a hidden class of its own, each time anew',
  onlyNode20,
  () => {
    const program = `
    const spread = options => { const all = { ...options }; all.added = true; return all }
    const complete = options => { const all = { ...options }; all.added = true; return all }
    for (let i = 0; i < 1000; i++) { spread({ handle: i }); complete({ handle: i, added: false }) }
    const same = [%HaveSameMap(spread({ handle: 1 }), spread({ handle: 2 })),
      %HaveSameMap(complete({ handle: 1, added: false }), complete({ handle: 2, added: false }))]
    process.stdout.write(same.join(' '))`
    const said = execFileSync(process.execPath, ['--allow-natives-syntax', '-e', program], { encoding: 'utf8' })
    assert.equal(
      said,
      'false true',
      changed(
        '51',
        'only what is complete before it is spread shares one',
        'server/accept.ts may gain nothing any more.',
      ),
    )
  },
)

test('fact 55: a field that began as a whole number gives its objects another hidden class with its first fraction', () => {
  const program = `
    class Whole { at = -1; set() { this.at = 0.5 } }
    class Never { at = -Infinity; set() { this.at = 0.5 } }
    const same = [Whole, Never].map(Kind => {
      const before = new Kind()
      new Kind().set()
      return %HaveSameMap(before, new Kind())
    })
    process.stdout.write(same.join(' '))`
  const said = execFileSync(process.execPath, ['--allow-natives-syntax', '-e', program], { encoding: 'utf8' })
  assert.equal(said, 'false true', changed('55', 'only a fraction from the start does not', 'See never.ts.'))
})

test('fact 38: on Node 20 such a callback even says that they were written', onlyNode20, async t => {
  const { client, socket, events } = await pair(t, 'does not read')
  socket.resume()
  const said: unknown[] = []
  socket.write(LARGE, error => said.push(error))
  await turn()
  client.socket.resetAndDestroy()
  await until('close', () => events.includes('close'))
  await until('the callback', () => said.length > 0)
  assert.ok(!said[0], changed('38', 'no error', 'ClientConnection.flushed may trust the callback on this Node.'))
})

test('fact 38: the callback of a write that the kernel takes at once comes before anything else is read', async t => {
  const { client, socket } = await pair(t, 'reads')
  const order: string[] = []
  setImmediate(() => {
    socket.write('hello', 'latin1', error => order.push(`written ${error ?? ''}`))
    assert.equal(socket.writableLength, 0)
    setImmediate(() => order.push('next turn'))
  })
  await until('both', () => order.length === 2)
  assert.deepEqual(order, ['written ', 'next turn'], changed('38', 'in the same turn', 'See ClientSide.flushed.'))
  await until('the bytes', () => client.text === 'hello')
})

for (const [who, lose] of [
  ['the client resets', ({ client }) => client.socket.resetAndDestroy()],
  ['we destroy the socket', ({ socket }) => socket.destroy()],
  ['we reset the socket', ({ socket }) => socket.resetAndDestroy()],
] as const satisfies readonly (readonly [string, (lost: Pair) => void])[]) {
  test(`fact 38: bytes of a write are pending and ${who}: its callback says no success, or the socket is destroyed`, async t => {
    const lost = await pair(t, 'does not read')
    let successes = 0
    lost.socket.write(LARGE, error => {
      if (!error && !lost.socket.destroyed) successes++
    })
    await turn()
    lose(lost)
    await until('close', () => lost.events.includes('close'))
    await turn()
    const consequence = 'ClientSide.flushed would call a lost client served.'
    assert.equal(successes, 0, changed('38', 'an error, or a socket that says so', consequence))
  })
}

test("fact 38: in the socket's error event, and no later, writableLength tells what was not delivered", async t => {
  const { client, socket, events } = await pair(t, 'does not read')
  let atError = -1
  let atClose = -1
  socket.on('error', () => {
    atError = socket.writableLength
  })
  socket.on('close', () => {
    atClose = socket.writableLength
  })
  socket.resume()
  socket.write(LARGE)
  await turn()
  client.socket.resetAndDestroy()
  await until('close', () => events.includes('close'))
  const consequence = 'ClientConnection.lostBytes, hence aborted_write_bytes, is wrong.'
  const why = changed('38', 'the error event still knows', consequence)
  assert.ok(atError >= LARGE.length, why)
  assert.equal(atClose, 0, why)
})

for (const [how, leave, state] of [
  ['FIN', (socket: Socket) => socket.end(), 'CLOSE_WAIT'],
  ['RST', (socket: Socket) => socket.resetAndDestroy(), undefined],
] as const) {
  test(
    `fact 5: while a socket is not read a ${how} goes unnoticed, but the kernel's table shows it`,
    onlyLinux,
    async t => {
      const { client, socket, events } = await pair(t, 'reads')
      socket.pause()
      client.socket.write('x'.repeat(100_000))
      const ports = [socket.localPort ?? 0, socket.remotePort ?? 0] as const
      await pause(50)
      leave(client.socket)
      await until('the kernel knows', () => kernelState(...ports) === state)
      await pause(300)
      const consequence = 'The watch of the socket table for paused uploads is no longer needed.'
      assert.equal(events.join(), '', changed('5', 'Node does not notice', consequence))
      socket.resume()
      await until('Node notices when it reads on', () => events.length > 0)
    },
  )
}

test('fact 7: a FIN while bytes are pending is told by the end event alone', async t => {
  const { client, socket, events } = await pair(t, 'does not read')
  socket.resume()
  socket.write(LARGE)
  await turn()
  client.socket.end()
  await until('end', () => events.length > 0)
  await pause(50)
  const consequence = 'ClientConnection listens to end, and resets: see clientEnded.'
  assert.deepEqual(events, ['end'], changed('7', 'only end tells it', consequence))
})

test('fact 54: _write of a socket calls back before it returns where the kernel takes all, later where not; the stream counts neither', async t => {
  const { socket } = await pair(t, 'does not read')
  const called: string[] = []
  socket._write('small', 'latin1', () => called.push('small'))
  assert.deepEqual(called, ['small'], changed('54', 'it calls back at once', 'See Outlet.'))
  socket._write('x'.repeat(LARGE.length), 'latin1', () => called.push('large'))
  assert.deepEqual(called, ['small'])
  assert.equal(
    socket.writableLength,
    0,
    changed('54', 'not counted', 'Outlet counts it: pending would be twice as much.'),
  )
  socket.destroy()
  // What it says then is no news (fact 38).
  await until('the callback', () => called.length === 2)
})
