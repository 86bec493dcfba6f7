/**
 * What the fact tests share. Each test here holds one property of Node, V8, Fastify, pino or prom-client that our
 * code is built on, named as a sentence with the number of the measured fact it belongs to. They test the stack, not
 * hopgate: when one fails after an upgrade, its message says what to change in src/. Facts above 35 are about: 36
 * resetting a TCP socket, 37 resetting below TLS, 38 what a write tells of a lost client, 42 when a buffer that was written
 * is free, 47 and 48 ws, 50 how Node accepts connections, 51 hidden classes of what is spread, 54 writes past the stream, 55 hidden classes of numbers.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import {
  type AddressInfo,
  connect as connectTcp,
  createServer,
  type Server,
  type ServerOpts,
  type Socket,
  type TcpNetConnectOpts,
} from 'node:net'
import type { TestContext } from 'node:test'

const NODE_MAJOR = Number(process.versions.node.split('.')[0])

/** Skips what is a quirk of Node 20 that later versions do not have: the code must stay right on both. */
export const onlyNode20 = { skip: NODE_MAJOR === 20 ? false : 'a quirk of Node 20' }
export const onlyLinux = { skip: process.platform === 'linux' ? false : 'reads the socket table of Linux' }

/** The message of a fact that has changed: what it was, and what that means for the code. */
export function changed(fact: string, was: string, consequence: string): string {
  return `stack fact ${fact} has changed: it was "${was}". ${consequence}`
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Holds the event loop, as a long synchronous computation or a stopped process does. */
export function stall(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** Waits for a state, never for a duration: slow machines only take longer. */
export async function until(what: string, reached: () => boolean, patienceMs = 5000): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!reached()) {
    assert.ok(performance.now() < deadline, `waited ${patienceMs} ms in vain: ${what}`)
    await pause(2)
  }
}

export interface Listening {
  readonly port: number
  readonly server: Server
  /** Connections that are open at this end. */
  readonly sockets: Set<Socket>
  /** Codes of the errors that the connections met. */
  readonly errors: string[]
  /** How many connections were ever accepted. */
  accepted: number
}

/** A TCP server of the test; connections have an error listener and end with the test. */
export async function listen(
  t: TestContext,
  onSocket: (socket: Socket) => void,
  opts: ServerOpts = {},
): Promise<Listening> {
  const server = createServer(opts)
  const sockets = new Set<Socket>()
  const errors: string[] = []
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const listening: Listening = { port: portOf(server), server, sockets, errors, accepted: 0 }
  server.on('connection', socket => {
    listening.accepted++
    sockets.add(socket)
    socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? error.message))
    socket.on('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return listening
}

export function portOf(server: { address(): AddressInfo | string | null }): number {
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

export interface RawClient {
  readonly socket: Socket
  text: string
  /** `end`, `close` and error codes, in order. */
  readonly events: string[]
  readonly closed: boolean
}

/** A TCP client of the test. */
export async function dial(t: TestContext, port: number, opts: Partial<TcpNetConnectOpts> = {}): Promise<RawClient> {
  const socket = connectTcp({ port, host: '127.0.0.1', ...opts })
  const events: string[] = []
  const client = {
    socket,
    text: '',
    events,
    get closed(): boolean {
      return events.includes('close')
    },
  }
  socket.on('error', (error: NodeJS.ErrnoException) => events.push(error.code ?? error.message))
  socket.on('end', () => events.push('end'))
  socket.on('close', () => events.push('close'))
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  return client
}

/** A client that reads and keeps what it reads. */
export async function dialReading(
  t: TestContext,
  port: number,
  opts: Partial<TcpNetConnectOpts> = {},
): Promise<RawClient> {
  const client = await dial(t, port, opts)
  client.socket.setEncoding('latin1').on('data', (text: string) => {
    client.text += text
  })
  return client
}

interface StreamHandle {
  readonly writeQueueSize: number
  readonly bytesWritten: number
  getpeername(out: object): number
}

/** Node's handle below a socket: no public interface, which is why what we use of it is tested here. */
export function handleOf(socket: Socket): StreamHandle | null {
  return (socket as unknown as { readonly _handle: StreamHandle | null })._handle
}

/** The kernel's state of one end of a connection; undefined: it does not exist. */
export function kernelState(localPort: number, remotePort: number): string | undefined {
  const port = (n: number): string => n.toString(16).toUpperCase().padStart(4, '0')
  for (const line of readFileSync('/proc/self/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, local, remote, state] = line.trim().split(/\s+/)
    if (local?.endsWith(`:${port(localPort)}`) && remote?.endsWith(`:${port(remotePort)}`)) return STATES[state ?? '']
  }
  return undefined
}

const STATES: Readonly<Record<string, string>> = {
  '01': 'ESTABLISHED',
  '04': 'FIN_WAIT1',
  '05': 'FIN_WAIT2',
  '06': 'TIME_WAIT',
  '07': 'CLOSE',
  '08': 'CLOSE_WAIT',
  '09': 'LAST_ACK',
}
