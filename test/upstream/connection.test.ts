/** One connection after the other, between an exchange that is played and an upstream whose every byte is the test's. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type UpstreamEvents, UpstreamSide } from '../../src/exchange/upstream-side.ts'
import type { Outcome } from '../../src/outcome.ts'
import type { Connection } from '../../src/upstream/connection.ts'
import type { RequestBodySource, UpstreamRequest } from '../../src/upstream/request.ts'
import { Upstream } from '../../src/upstream/upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const patience = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(15_000) })

/** What an upstream was told, as text, and its sockets. */
interface Ground {
  readonly upstream: Upstream
  readonly ledger: { taken: number; returned: number }
  readonly sockets: readonly Socket[]
  /** The socket that is accepted as the `n`th. */
  accepted(n: number): Promise<Socket>
}

async function ground(t: TestContext, onData: (socket: Socket, n: number) => void, pool = {}): Promise<Ground> {
  const sockets: Socket[] = []
  const arrivals = new EventEmitter()
  const server = createServer({ noDelay: true }, socket => {
    const n = sockets.push(socket) - 1
    socket.on('error', () => {})
    socket.on('data', () => onData(socket, n))
    arrivals.emit('socket')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  const ledger = { taken: 0, returned: 0 }
  const upstream = new Upstream(
    {
      name: 'up',
      endpoints: [{ url, tls: false, hostname: '127.0.0.1', port, authority: `127.0.0.1:${port}` }],
      balance: 'least_request',
      pool: { maxConnections: 4, keepaliveMs: 60_000, maxAgeMs: Number.POSITIVE_INFINITY, queue: 10, ...pool },
      tls: { verify: true, caFile: null, serverName: null },
    },
    ledger,
  )
  t.after(() => {
    upstream.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const accepted = async (n: number): Promise<Socket> => {
    while (sockets.length <= n) await once(arrivals, 'socket', patience())
    return sockets[n] as Socket
  }
  return { upstream, ledger, sockets, accepted }
}

/** An exchange's upstream side, and the words it was told, in their order. */
class Asker implements UpstreamEvents {
  readonly told: string[] = []
  readonly side: UpstreamSide
  body = ''
  connection: Connection | undefined
  /** Called at each word; may throw. */
  at: (word: string) => void = () => {}
  /** What is said to each piece of the body. */
  takes = true
  readonly #words = new EventEmitter()

  constructor(upstream: Upstream) {
    this.side = new UpstreamSide(upstream, this)
  }

  ask(request: Partial<UpstreamRequest> = {}): this {
    const base = {
      method: 'GET',
      target: '/',
      passed: '',
      added: '',
      body: null,
      chunked: false,
      replayable: false,
      host: undefined,
    }
    this.side.start({ ...base, ...request })
    return this
  }

  async until(word: string): Promise<void> {
    while (!this.told.includes(word)) {
      assert.ok(word === 'failed' || !this.told.includes('failed'), `failed while ${word} was awaited: ${this.told}`)
      await once(this.#words, 'word', patience())
    }
  }

  #tell(word: string): void {
    this.told.push(word)
    this.#words.emit('word')
    this.at(word)
  }

  upstreamQueued(): void {
    this.#tell('queued')
  }
  upstreamSlot(connection: Connection): void {
    this.connection = connection
    this.#tell('slot')
  }
  upstreamDialling(stage: string): void {
    this.#tell(stage)
  }
  upstreamConnected(): void {
    this.#tell('connected')
  }
  upstreamRequestSent(): void {
    this.#tell('sent')
  }
  upstreamInterim(): void {
    this.#tell('interim')
  }
  upstreamHead(): boolean {
    this.#tell('head')
    return true
  }
  upstreamData(chunk: Buffer): boolean {
    this.body += chunk.toString('latin1')
    this.#tell('data')
    return this.takes
  }
  upstreamReadOver(): void {}
  upstreamEnd(): void {
    this.#tell('end')
  }
  upstreamUpgraded(): void {
    this.#tell('upgraded')
  }
  upstreamFailed(outcome: Outcome): void {
    this.#tell('failed')
    this.told.push(outcome)
  }
  upstreamCancelled(): void {
    this.#tell('cancelled')
  }
}

/** Its error, if any, is none of the test's. */
async function closed(socket: Socket | undefined): Promise<void> {
  if (socket === undefined) return
  socket.removeAllListeners('data')
  socket.resume()
  const { signal } = patience()
  while (!socket.destroyed) {
    assert.ok(!signal.aborted, 'a connection that does not close')
    await turn()
  }
}

/** A request that is answered, whose connection idles now. */
async function answered(upstream: Upstream): Promise<Socket> {
  const asker = new Asker(upstream).ask()
  await asker.until('end')
  return asker.connection?.rawSocket as Socket
}

/** A request that must not be sent twice is sent on a connection of its own, and answered. */
async function expectFresh(asker: Asker, sockets: readonly Socket[]): Promise<void> {
  await asker.until('end')
  assert.equal(asker.told.includes('failed'), false)
  assert.deepEqual([asker.side.reused, asker.side.attempts, sockets.length], [false, 1, 2])
}

const balanced = ({ upstream, ledger }: Ground): void => {
  assert.deepEqual([ledger.taken - ledger.returned, upstream.endpoints[0]?.borrowedNow], [0, 0])
}

test('a request that comes when the idle connection has just been given up gets a fresh one', async t => {
  const g = await ground(t, socket => socket.write(OK), { keepaliveMs: 50 })
  await answered(g.upstream)
  const asker = new Asker(g.upstream)
  // Of the same length, begun after: it fires right behind the idle clock, before any socket can have closed.
  setTimeout(() => asker.ask({ method: 'POST' }), 50)
  const until = performance.now() + 60
  while (performance.now() < until);
  await expectFresh(asker, g.sockets)
  balanced(g)
})

test('an idle clock that has run out while the connection was borrowed runs again after it', async t => {
  const held: Socket[] = []
  const g = await ground(t, socket => (held.length === 0 ? socket.write(OK) : held.push(socket)), { keepaliveMs: 100 })
  await answered(g.upstream)
  held.push(g.sockets[0] as Socket)
  const asker = new Asker(g.upstream).ask()
  await asker.until('sent')
  await new Promise(resolve => setTimeout(resolve, 250))
  assert.deepEqual([asker.side.reused, asker.told.at(-1)], [true, 'sent'])
  g.sockets[0]?.write(OK)
  await asker.until('end')
  assert.equal(g.upstream.endpoints[0]?.count('idle'), 1)
  await closed(g.sockets[0])
  assert.equal(g.upstream.endpoints[0]?.count('idle'), 0)
  balanced(g)
})

test('a request that comes with the bytes that nobody asked for gets a fresh connection', async t => {
  const g = await ground(t, socket => socket.write(OK))
  const idle = await answered(g.upstream)
  const asker = new Asker(g.upstream)
  const destroy = idle.destroy.bind(idle)
  idle.destroy = error => {
    asker.ask({ method: 'POST' })
    return destroy(error)
  }
  g.sockets[0]?.write(OK)
  await expectFresh(asker, g.sockets)
  balanced(g)
})

test('a request that comes with the reset of the idle connection gets a fresh one', async t => {
  const g = await ground(t, socket => socket.write(OK))
  const idle = await answered(g.upstream)
  const asker = new Asker(g.upstream)
  idle.on('error', () => asker.ask({ method: 'POST' }))
  g.sockets[0]?.resetAndDestroy()
  await expectFresh(asker, g.sockets)
  assert.equal(g.upstream.endpoints[0]?.idleCloses, 1)
  balanced(g)
})

test('bytes behind a response that was paused are no answer to the next request', async t => {
  const g = await ground(t, (socket, n) => {
    if (n === 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhead')
    else socket.write(OK)
  })
  const slow = new Asker(g.upstream)
  slow.takes = false
  slow.ask()
  await slow.until('data')
  // The rest of the response, and what nobody has asked for: on loopback, what is written is there.
  const peer = await g.accepted(0)
  for (const bytes of ['tail', OK.replace('ok', 'no')]) await new Promise(resolve => peer.write(bytes, resolve))
  const next = new Asker(g.upstream)
  slow.at = word => {
    if (word === 'end') next.ask({ method: 'POST' })
  }
  slow.takes = true
  slow.side.resume()
  await expectFresh(next, g.sockets)
  assert.deepEqual([slow.body, next.body], ['headtail', 'ok'])
  balanced(g)
})

/** A body that does not wait when it is told to. */
class Flood implements RequestBodySource {
  stops = 0
  drains = 0
  readonly #bytes: number
  readonly #ends: boolean

  constructor(bytes: number, ends: boolean) {
    this.#bytes = bytes
    this.#ends = ends
  }
  start(sink: Parameters<RequestBodySource['start']>[0]): void {
    sink.write(Buffer.alloc(this.#bytes))
    if (this.#ends) sink.end()
  }
  held(): void {}
  drained(): void {
    this.drains++
  }
  stop(): void {
    this.stops++
  }
}

const FLOOD_BYTES = 64 << 20

test('an answer to a request of which bytes still wait here: its connection serves no other', async t => {
  const g = await ground(t, (socket, n) => {
    if (n === 0) socket.pause()
    socket.write(OK)
  })
  const first = new Asker(g.upstream)
  const flood = new Flood(FLOOD_BYTES, true)
  const next = new Asker(g.upstream)
  first.at = word => {
    if (word === 'end') next.ask({ method: 'POST' })
  }
  first.ask({ method: 'POST', passed: `Content-Length: ${FLOOD_BYTES}\r\n`, body: flood })
  await first.until('end')
  await expectFresh(next, g.sockets)
  assert.equal(flood.stops, 1)
  balanced(g)
})

for (const how of ['fin', 'rst'] as const) {
  test(`an upload that is held when its connection ends by ${how}: one failure, and nothing more is asked of it`, async t => {
    const g = await ground(t, socket => {
      socket.pause()
      if (how === 'rst') socket.resetAndDestroy()
      else socket.end()
    })
    const flood = new Flood(FLOOD_BYTES, false)
    const asker = new Asker(g.upstream)
    asker.ask({ method: 'POST', passed: `Content-Length: ${2 * FLOOD_BYTES}\r\n`, body: flood })
    await asker.until('failed')
    const { drains } = flood
    await closed(await g.accepted(0))
    await turn()
    assert.deepEqual([asker.told.filter(word => word === 'failed').length, flood.stops, flood.drains], [1, 1, drains])
    balanced(g)
  })
}

const CONVERSATION = `HTTP/1.1 103 Early Hints\r\n\r\n${OK}`
for (const word of ['slot', 'connect', 'connected', 'sent', 'interim', 'head', 'data']) {
  test(`given up while it is told of "${word}": nothing more is told, the slot is free and the connection closed`, async t => {
    const g = await ground(t, socket => socket.write(CONVERSATION), { maxConnections: 1 })
    const asker = new Asker(g.upstream)
    const cause = new Error('given up')
    asker.at = it => {
      if (it === word) asker.side.cancel(cause)
    }
    asker.ask()
    await asker.until(word === 'slot' ? 'slot' : 'cancelled')
    assert.deepEqual(asker.told.filter(it => it !== 'cancelled').at(-1), word)
    assert.equal(asker.told.includes('failed'), false)
    balanced(g)
    const next = new Asker(g.upstream).ask()
    await next.until('end')
    assert.equal(next.side.reused, false)
    for (const socket of g.sockets.slice(0, -1)) await closed(socket)
    balanced(g)
  })
}

for (const word of ['interim', 'head', 'data']) {
  test(`an exception from whoever is told of "${word}": an internal error, the slot is free and the connection closed`, async t => {
    const g = await ground(t, socket => socket.write(CONVERSATION))
    const asker = new Asker(g.upstream)
    asker.at = it => {
      if (it === word) throw new Error('of ours')
    }
    asker.ask()
    await asker.until('failed')
    assert.deepEqual(asker.told.slice(-3), [word, 'failed', 'internal_error'])
    await closed(g.sockets[0])
    balanced(g)
    await answered(g.upstream)
  })
}

test("a connection that was switched is its new owner's alone: no listener reads from it, and the slot is his until the end", async t => {
  const g = await ground(
    t,
    socket => socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst frame'),
    { maxConnections: 1 },
  )
  const asker = new Asker(g.upstream).ask({ upgrade: 'websocket' })
  await asker.until('upgraded')
  const socket = asker.connection?.socket as Socket
  assert.deepEqual([socket.listenerCount('data'), socket.listenerCount('drain'), socket.isPaused()], [0, 0, true])
  const waiting = new Asker(g.upstream).ask()
  assert.deepEqual(waiting.told, ['queued'])
  const frame = once(socket, 'data', patience())
  socket.resume()
  const [bytes] = (await frame) as [Buffer]
  assert.equal(bytes.toString(), 'first frame')
  waiting.side.cancel(new Error('enough'))
  asker.side.finish()
  await closed(g.sockets[0])
  balanced(g)
  assert.equal(asker.told.includes('failed'), false)
})

test('a dial that is refused in the turn in which it was given up: told once, and the slot is free', async t => {
  const g = await ground(t, socket => socket.write(OK), { maxConnections: 1 })
  const askers = Array.from({ length: 5 }, () => new Asker(g.upstream).ask())
  for (const asker of askers) asker.side.cancel(new Error('given up'))
  for (const asker of askers) asker.side.cancel(new Error('given up again'))
  await answered(g.upstream)
  assert.ok(askers.every(({ told }) => !told.includes('failed')))
  balanced(g)
})
