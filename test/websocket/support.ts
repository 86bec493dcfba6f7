/** WebSocket peers for tests: real ones (the `ws` package), and raw ones whose every byte and every end is the test's. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws'

/** No wait of these tests is a measurement: it ends when what is awaited comes, and a busy machine takes its time. */
export const PATIENCE_MS = 20_000

export async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await check())) {
    assert.ok(performance.now() < deadline, `not within ${PATIENCE_MS} ms: ${what}`)
    await delay(5)
  }
}

export interface Backend {
  readonly port: number
  readonly url: string
  readonly sockets: ReadonlySet<WebSocket>
  readonly requests: readonly IncomingMessage[]
  /** Ends every connection by RST and the listener: as a process that is killed. */
  kill(): Promise<void>
}

export interface BackendOptions {
  readonly port?: number
  readonly compress?: boolean
  readonly protocols?: (offered: Set<string>) => string | false
  readonly onConnection?: (ws: WebSocket, request: IncomingMessage) => void
}

/** Echoes every message, unless told otherwise. */
export async function startBackend(t: TestContext, options: BackendOptions = {}): Promise<Backend> {
  const { port = 0, compress = false, protocols, onConnection = echo } = options
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port,
    perMessageDeflate: compress ? { threshold: 0 } : false,
    maxPayload: 256 * 1024 * 1024,
    ...(protocols === undefined ? {} : { handleProtocols: protocols }),
  })
  await once(server, 'listening')
  const requests: IncomingMessage[] = []
  const raws = new Set<Socket>()
  server.on('connection', (ws, request) => {
    requests.push(request)
    raws.add(request.socket)
    request.socket.on('close', () => raws.delete(request.socket))
    ws.on('error', () => {})
    onConnection(ws, request)
  })
  const kill = async (): Promise<void> => {
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    for (const raw of raws) raw.resetAndDestroy()
    await closed
  }
  t.after(kill)
  const address = server.address() as AddressInfo
  return { port: address.port, url: `http://127.0.0.1:${address.port}`, sockets: server.clients, requests, kill }
}

export function echo(ws: WebSocket): void {
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }))
}

export interface Client {
  readonly ws: WebSocket
  /** The next message that was not handed out yet. */
  message(): Promise<{ readonly data: Buffer; readonly isBinary: boolean }>
  /** The close event. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
}

/** Connected, or rejected with what `ws` says. */
export async function openWebSocket(
  t: TestContext,
  url: string,
  protocols: readonly string[] = [],
  options: ClientOptions = {},
): Promise<Client> {
  const client = newWebSocket(t, url, protocols, options)
  const { ws } = client
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve)
    ws.once('error', reject)
  })
  return client
}

export function newWebSocket(
  t: TestContext,
  url: string,
  protocols: readonly string[] = [],
  options: ClientOptions = {},
): Client {
  const ws = new WebSocket(url.replace(/^http/, 'ws'), [...protocols], {
    perMessageDeflate: false,
    maxPayload: 256 * 1024 * 1024,
    ...options,
  })
  t.after(() => ws.terminate())
  const messages: { data: Buffer; isBinary: boolean }[] = []
  let handed = 0
  ws.on('message', (data, isBinary) => messages.push({ data: data as Buffer, isBinary }))
  ws.on('error', () => {})
  const closed = new Promise<{ code: number; reason: string }>(resolve => {
    ws.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
  })
  const message = async () => {
    const mine = handed++
    await until(`message ${mine}`, () => messages.length > mine)
    return messages[mine] as { data: Buffer; isBinary: boolean }
  }
  return { ws, closed, message }
}

/** One end of a TCP connection, raw. */
export class Wire {
  readonly socket: Socket
  received = Buffer.alloc(0)
  receivedBytes = 0
  /** The peer's end: FIN or RST; undefined: not yet. */
  ended: 'fin' | 'rst' | undefined
  /** Keep what comes, or only count it. */
  keep = true

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.receivedBytes += chunk.length
      if (this.keep) this.received = Buffer.concat([this.received, chunk])
    })
    socket.on('end', () => {
      this.ended ??= 'fin'
    })
    socket.on('error', () => {
      this.ended = 'rst'
    })
    socket.on('close', hadError => {
      this.ended ??= hadError ? 'rst' : 'fin'
    })
  }

  get text(): string {
    return this.received.toString('latin1')
  }

  send(data: string | Buffer): void {
    this.socket.write(data)
  }

  fin(): void {
    this.socket.end()
  }

  rst(): void {
    this.socket.resetAndDestroy()
  }

  async heard(pattern: RegExp): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null
    await until(`${pattern} in ${JSON.stringify(this.text.slice(0, 300))}`, () => {
      found = pattern.exec(this.text)
      return found !== null
    })
    return found as unknown as RegExpExecArray
  }

  async over(): Promise<'fin' | 'rst'> {
    await until('the end of the connection', () => this.ended !== undefined)
    return this.ended as 'fin' | 'rst'
  }
}

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
/** RFC 6455 section 1.3. */
export const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

export function handshakeText(path: string, more: readonly string[] = []): string {
  return [
    `GET ${path} HTTP/1.1`,
    'Host: gateway.test',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${KEY}`,
    ...more,
    '',
    '',
  ].join('\r\n')
}

export async function openWire(t: TestContext, port: number): Promise<Wire> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  const wire = new Wire(socket)
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  return wire
}

/** A connection on which the gateway has answered 101. */
export async function openRawWebSocket(t: TestContext, port: number, path = '/'): Promise<Wire> {
  const wire = await openWire(t, port)
  wire.send(handshakeText(path))
  await wire.heard(/^HTTP\/1\.1 101 .*\r\n\r\n/s)
  wire.received = Buffer.alloc(0)
  return wire
}

export interface RawBackend {
  readonly port: number
  readonly url: string
  readonly wires: readonly Wire[]
  /** The next connection, with a whole request head in `received`. */
  next(): Promise<Wire>
}

/** Accepts, and leaves the rest to the test. */
export async function startRawBackend(t: TestContext, onWire: (wire: Wire) => void = () => {}): Promise<RawBackend> {
  const wires: Wire[] = []
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    const wire = new Wire(socket)
    wires.push(wire)
    onWire(wire)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const { socket } of wires) socket.destroy()
    server.close()
  })
  let handed = 0
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    wires,
    next: async () => {
      const mine = handed++
      await until(`connection ${mine} to the backend`, () => wires.length > mine)
      const wire = wires[mine] as Wire
      await wire.heard(/\r\n\r\n/)
      return wire
    },
  }
}

export const SWITCHING = [
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: websocket',
  `Sec-WebSocket-Accept: ${ACCEPT}`,
  '',
  '',
].join('\r\n')

/** A whole tunnel between raw ends: the handshake is over on both, and nothing else was said. */
export async function rawTunnel(
  t: TestContext,
  gatewayPort: number,
  backend: RawBackend,
): Promise<{ client: Wire; upstream: Wire }> {
  const client = await openWire(t, gatewayPort)
  client.send(handshakeText('/'))
  const upstream = await backend.next()
  upstream.received = Buffer.alloc(0)
  upstream.send(SWITCHING)
  await client.heard(/^HTTP\/1\.1 101 .*\r\n\r\n/s)
  client.received = Buffer.alloc(0)
  client.receivedBytes = 0
  upstream.receivedBytes = 0
  return { client, upstream }
}

/** RFC 6455 section 5.5.1, masked with zeros (a mask is needed, not secrecy) or not. */
export function closeFrame(code: number, masked: boolean): Buffer {
  const payload = Buffer.from([code >> 8, code & 0xff])
  return masked
    ? Buffer.concat([Buffer.from([0x88, 0x82, 1, 2, 3, 4]), Buffer.from([(code >> 8) ^ 1, (code & 0xff) ^ 2])])
    : Buffer.concat([Buffer.from([0x88, 0x02]), payload])
}

/** Descriptors of this process that are open: sockets of the gateway, the backend and the clients of a test. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
