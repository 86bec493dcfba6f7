import { createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { Arrivals, AWAIT_MS, Progress, within } from './awaiting.ts'
import { startBlackHole } from './black-hole.ts'
import { answer, type CertificateName, type ConnectionFault, type RequestFault, type UpstreamFault } from './faults.ts'
import { startRefusal } from './refusal.ts'
import { serveConnection } from './serve-connection.ts'
import { serverTls } from './tls-fixtures.ts'
import { UpstreamConnection } from './upstream-connection.ts'
import type { RequestHead, UpstreamRequest } from './upstream-request.ts'

/** One fault for all, or one for each request: by path, by count, by whether the connection is reused. */
export type Behaviour = UpstreamFault | ((request: RequestHead) => RequestFault)

export interface UpstreamOptions {
  /** Speak TLS with this certificate (`testCa` signed all but `unknown-ca`). Default: plain TCP, or `good` for `on: 'tls'`. */
  readonly tls?: CertificateName
  /** A peer that sends FIN after its request is still answered. Default false, as in node's own server. */
  readonly keepHalfOpen?: boolean
  /** A fixed port instead of any free one: to come back where a fault was. */
  readonly port?: number
  /** `false`: requests and connections that are over are forgotten, for an upstream that serves for days. Default true. */
  readonly remember?: boolean
}

/** How many of each so far. */
export interface UpstreamCounters {
  readonly connections: number
  readonly requests: number
  /** Requests whose last answer byte the kernel took. */
  readonly answered: number
  /** Connections by how they ended. */
  readonly fin: number
  readonly rst: number
  readonly us: number
  /** Connections on which something came that is no HTTP. */
  readonly malformed: number
}

export interface Upstream {
  readonly port: number
  /** `http://127.0.0.1:PORT` or, with TLS, `https://localhost:PORT`. */
  readonly url: string
  readonly requests: readonly UpstreamRequest[]
  readonly connections: readonly UpstreamConnection[]
  readonly counters: UpstreamCounters
  /** Connections whose descriptor is open now. */
  readonly openSockets: number
  /** The next request not handed out before (its head has come); waits 10 s unless told otherwise. */
  nextRequest(timeoutMs?: number): Promise<UpstreamRequest>
  nextConnection(timeoutMs?: number): Promise<UpstreamConnection>
  /** Resolves, `performance.now()` ms, when no connection is open. */
  allClosed(timeoutMs?: number): Promise<number>
  /** From now on; requests under way keep what they have. Only among faults of the same port: not to or from a dial fault. */
  behave(behaviour: Behaviour): void
  /** Ends every connection and the listener at once. */
  close(): Promise<void>
}

/** A raw server on 127.0.0.1 whose every byte is ours. */
export async function startUpstream(behaviour: Behaviour, options: UpstreamOptions = {}): Promise<Upstream> {
  if (typeof behaviour === 'object' && behaviour.on === 'dial') {
    const { port } = options
    return portOnly(behaviour.then === 'refuse' ? await startRefusal(port) : await startBlackHole(port))
  }
  const { remember = true } = options
  let current: Behaviour = behaviour
  const requests: UpstreamRequest[] = []
  const connections: UpstreamConnection[] = []
  const newRequests = new Arrivals<UpstreamRequest>()
  const newConnections = new Arrivals<UpstreamConnection>()
  const counters = { connections: 0, requests: 0, answered: 0, fin: 0, rst: 0, us: 0, malformed: 0 }
  const open = new Set<UpstreamConnection>()
  const closings = new Progress()

  const server = createServer({ allowHalfOpen: true }, raw => {
    const fault = connectionFaultOf(current)
    const certificate = fault?.on === 'tls' && fault.then === 'certificate' ? fault.which : options.tls
    const isSilent = fault !== undefined && !(fault.on === 'tls' && fault.then === 'certificate')
    const stream = certificate && !isSilent ? encrypt(raw, certificate) : raw
    const connection = new UpstreamConnection(counters.connections++, raw, stream, options.keepHalfOpen ?? false)
    if (remember) connections.push(connection)
    open.add(connection)
    raw.on('close', () => {
      open.delete(connection)
      counters[connection.ended?.how ?? 'us']++
      closings.add(1)
    })
    if (remember) newConnections.add(connection)
    serveConnection(connection, isSilent ? fault : undefined, {
      nextIndex: () => counters.requests++,
      onRequest: request => {
        if (!remember) return
        requests.push(request)
        newRequests.add(request)
      },
      onAnswered: () => counters.answered++,
      onMalformed: () => counters.malformed++,
      choose: request => (typeof current === 'function' ? current(request) : requestFaultOf(current)),
    })
  })
  const port = await listen(server, options.port ?? 0)
  const isTls = options.tls !== undefined || (typeof behaviour === 'object' && behaviour.on === 'tls')
  const state = (): string => `${counters.connections} connections, ${counters.requests} requests, ${open.size} open`
  const allClosed = async (timeoutMs = AWAIT_MS): Promise<number> => {
    const until = performance.now() + timeoutMs
    while (open.size > 0) {
      const next = closings.reached(closings.value + 1)
      await within(next, Math.max(0, until - performance.now()), `close of all connections of port ${port}`, state)
    }
    return performance.now()
  }
  return {
    port,
    url: isTls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    requests,
    connections,
    counters,
    get openSockets() {
      return open.size
    },
    nextRequest: (timeoutMs = AWAIT_MS) => newRequests.next(timeoutMs, `request at port ${port}`, state),
    nextConnection: (timeoutMs = AWAIT_MS) => newConnections.next(timeoutMs, `connection at port ${port}`, state),
    allClosed,
    behave: next => {
      current = next
    },
    close: async () => {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      for (const connection of open) connection.destroy()
      await within(closed, AWAIT_MS, `close of port ${port}`, state)
    },
  }
}

function connectionFaultOf(behaviour: Behaviour): ConnectionFault | undefined {
  if (typeof behaviour === 'function') return undefined
  return behaviour.on === 'accept' || behaviour.on === 'tls' ? behaviour : undefined
}

function requestFaultOf(fault: UpstreamFault): RequestFault {
  if (fault.on === 'dial' || fault.on === 'accept' || fault.on === 'tls') return answer()
  return fault
}

function encrypt(raw: Socket, certificate: CertificateName): TLSSocket {
  const secureContext = createSecureContext(serverTls(certificate))
  return new TLSSocket(raw, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] })
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1', backlog: 4096 }, resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  return address.port
}

/** An upstream that no connection ever reaches. */
function portOnly(listener: { readonly port: number; close(): Promise<void> }): Upstream {
  const counters = { connections: 0, requests: 0, answered: 0, fin: 0, rst: 0, us: 0, malformed: 0 }
  const never = async (): Promise<never> => {
    throw new Error(`nothing ever reaches port ${listener.port}: its dials are refused or dropped`)
  }
  return {
    port: listener.port,
    url: `http://127.0.0.1:${listener.port}`,
    requests: [],
    connections: [],
    counters,
    openSockets: 0,
    nextRequest: never,
    nextConnection: never,
    allClosed: async () => performance.now(),
    behave: () => {
      throw new Error('a dial fault stays: start another upstream')
    },
    close: () => listener.close(),
  }
}
