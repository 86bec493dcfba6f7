/**
 * Bodies arrive as they were sent, however they were framed, however fast each client takes its own, and whoever else is
 * being served: responses are read into buffers that others use next.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { simple, startTestGateway } from '../support/gateway.ts'

const FRAMINGS = ['length', 'chunks', 'end'] as const
type Framing = (typeof FRAMINGS)[number]

/** About every bound: of the head with a small body, of the small buffer, of the large one; and far above them. */
const SIZES = [0, 1, 500, 8192, 8193, 16_000, 16_384, 20_000, 65_536, 262_144, 278_528, 300_000, 1_500_000]
const HUGE = 12 * 1024 * 1024

/** Bytes that tell which body they are of, and where in it. */
function body(seed: number, bytes: number): Buffer {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed * 1_000_003, 2_654_435_761)
  return Buffer.from(words.buffer, 0, bytes)
}

const path = (seed: number, bytes: number, framing: Framing) => `/${framing}/${bytes}/${seed}`

function respond(socket: Socket, target: string): void {
  const [, framing, bytes, seed] = target.split('/')
  const whole = body(Number(seed), Number(bytes))
  if (framing === 'length') {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${whole.length}\r\n\r\n`)
    socket.write(whole)
  } else if (framing === 'end') {
    socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
    socket.end(whole)
  } else {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    for (let at = 0, size = 1; at < whole.length; at += size, size = (size * 7) % 50_021) {
      const chunk = whole.subarray(at, at + size)
      socket.write(`${chunk.length.toString(16)}\r\n`)
      socket.write(chunk)
      socket.write('\r\n')
    }
    socket.write('0\r\n\r\n')
  }
}

/** @param atOnce so many responses are written together */
async function gateway(t: TestContext, atOnce = 1) {
  const waiting: (() => void)[] = []
  const server = createServer(socket => {
    let head = ''
    socket.on('error', () => {})
    socket.on('data', bytes => {
      head += bytes.toString('latin1')
      for (let end = head.indexOf('\r\n\r\n'); end !== -1; end = head.indexOf('\r\n\r\n')) {
        const target = head.split(' ')[1] as string
        head = head.slice(end + 4)
        waiting.push(() => respond(socket, target))
        if (waiting.length >= atOnce) for (const go of waiting.splice(0)) go()
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return startTestGateway(t, simple(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
}

async function open(port: number, agent: Agent, target: string): Promise<IncomingMessage> {
  const req = request({ host: '127.0.0.1', port, path: target, agent }).end()
  const [response] = (await once(req, 'response')) as [IncomingMessage]
  return response
}

async function read(response: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function same(got: Buffer, seed: number, bytes: number, what: string): void {
  assert.equal(got.length, bytes, what)
  const sent = body(seed, bytes)
  if (!got.equals(sent)) assert.fail(`${what}: differs from byte ${got.findIndex((byte, i) => byte !== sent[i])}`)
}

for (const framing of FRAMINGS) {
  test(`bodies of ${SIZES.length} sizes, framed by ${framing}, all at once, beside clients that do not read`, async t => {
    const { port } = await gateway(t)
    const agent = new Agent({ keepAlive: true, maxSockets: 40 })
    t.after(() => agent.destroy())
    // What these do not take fills their sockets, and waits in the gateway.
    const slow = await Promise.all([1, 2, 3].map(seed => open(port, agent, path(seed, HUGE, framing))))
    let seed = 10
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        SIZES.map(async bytes => {
          const own = seed++
          const target = path(own, bytes, framing)
          same(await read(await open(port, agent, target)), own, bytes, target)
        }),
      )
    }
    await Promise.all(slow.map(async (response, i) => same(await read(response), i + 1, HUGE, `slow ${i}`)))
  })
}

for (const framing of FRAMINGS) {
  test(`responses framed by ${framing} that all come in one turn of the event loop`, async t => {
    const { port } = await gateway(t, 30)
    const agent = new Agent({ keepAlive: true })
    t.after(() => agent.destroy())
    for (const bytes of [40, 9000, 40_000]) {
      const seeds = Array.from({ length: 30 }, (_, i) => i)
      const targets = seeds.map(seed => path(seed, bytes, framing))
      const got = await Promise.all(targets.map(async target => read(await open(port, agent, target))))
      for (const seed of seeds) same(got[seed] as Buffer, seed, bytes, targets[seed] as string)
    }
  })
}

test('bodies of pipelined requests, the first of which is taken late', async t => {
  const { port } = await gateway(t)
  const asked = [HUGE, 300_000, 300_000, 500, 70_000, 1_500_000]
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  for (const [seed, bytes] of asked.entries()) {
    const last = seed === asked.length - 1 ? 'Connection: close\r\n' : ''
    socket.write(`GET ${path(seed, bytes, 'length')} HTTP/1.1\r\nHost: a\r\n${last}\r\n`)
  }
  // Others are served meanwhile, with the same buffers.
  const agent = new Agent({ keepAlive: true })
  t.after(() => agent.destroy())
  for (let seed = 20; seed < 40; seed++) {
    same(await read(await open(port, agent, path(seed, 1_500_000, 'length'))), seed, 1_500_000, `beside ${seed}`)
  }
  let got = await read(socket)
  for (const [seed, bytes] of asked.entries()) {
    const start = got.indexOf('\r\n\r\n') + 4
    assert.match(got.subarray(0, start).toString('latin1'), /^HTTP\/1\.1 200 OK\r\n/)
    same(got.subarray(start, start + bytes), seed, bytes, `pipelined ${seed}`)
    got = got.subarray(start + bytes)
  }
  assert.equal(got.length, 0)
})
