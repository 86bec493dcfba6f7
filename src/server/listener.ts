/** The HTTP server below Fastify: its connections, what is done with a request before it is routed, and what is no request. */
import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { ListenConfig } from '../config/config.ts'
import { bindConnection, ClientConnection, connectionOf } from '../exchange/client-connection.ts'
import { peerOf } from '../exchange/peer.ts'
import type { Shared } from '../exchange/route.ts'
import type { Metrics } from '../observe/metrics.ts'
import { NO_ROUTE } from '../observe/route-metrics.ts'
import type { Roster } from '../roster.ts'
import type { SelfProbe } from '../watch/self-probe.ts'
import { ARRIVAL, type Arrived, NO_SUCH_PATH, ROUTABLE, treeOf } from './arrival.ts'
import { unacceptable } from './door.ts'
import { connectRefusal, malformed, parseRefusal } from './parse-error.ts'
import type { Refuser } from './refusal.ts'
import { hostnameOf, readTarget } from './target.ts'
import { GatewayRequest, responseOn } from './upgrade.ts'

export interface ListenerDeps {
  readonly shared: Shared
  readonly metrics: Metrics
  /** undefined: it is off. */
  readonly probe: SelfProbe | undefined
}

/** @param route called with every request that can be routed */
export function createListener(
  listen: ListenConfig,
  { shared, metrics, probe }: ListenerDeps,
  refuser: Refuser,
  hosts: ReadonlySet<string>,
  { sockets, probes }: { readonly sockets: Roster<Socket>; readonly probes: Set<Socket> },
  route: (req: IncomingMessage, res: ServerResponse) => void,
): HttpServer {
  const headersMs = listen.timeouts.headers.value
  const options: ServerOptions = {
    maxHeaderSize: listen.maxHeaderBytes,
    headersTimeout: headersMs,
    // Polled, every 30 s by default: often enough for the promised tolerance of max(50 ms, 2 %).
    connectionsCheckingInterval: Math.max(10, Math.min(50, headersMs / 200)),
    // Bodies have clocks of their own.
    requestTimeout: 0,
    // Node 20 adds a second to it: ClientConnection has its own.
    keepAliveTimeout: 0,
    noDelay: true,
    IncomingMessage: GatewayRequest,
    // Node would answer 400 itself, unobserved.
    requireHostHeader: false,
    insecureHTTPParser: false,
  }
  const server = createServer(options)
  server.maxConnections = listen.maxConnections
  server.maxHeadersCount = 0
  server.timeout = 0

  const enter = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean, upgradeHead?: Buffer): void => {
    const connection = connectionOf(req.socket)
    if (connection === undefined) return
    const host = req.headers.host
    const wrong = unacceptable(req)
    if (wrong !== undefined) {
      refuser.refuse(req, res, connection, malformed(wrong.why, wrong.status))
      return
    }
    const read = readTarget(req.url ?? '')
    if (read === undefined) {
      // RFC 9110 section 9.3.7: about the server as a whole, of which there is nothing to say.
      const options = req.method === 'OPTIONS' && req.url === '*'
      refuser.refuse(req, res, connection, options ? NO_SUCH_PATH : malformed('a target that can be read in two ways'))
      return
    }
    // RFC 9112 section 3.2.2 has Host ignored then; whoever reads the other of the two reads another request.
    if (read.authority !== undefined && host !== undefined && read.authority !== host.toLowerCase()) {
      refuser.refuse(req, res, connection, malformed('a target that disagrees with Host'))
      return
    }
    const tree = hosts.size > 0 && host !== undefined ? hostnameOf(host) : ''
    const hostTree = tree !== '' && hosts.has(tree)
    ;(req as Arrived)[ARRIVAL] = {
      target: read.target,
      expectsContinue,
      encodedSlash: read.encodedSlash,
      hostTree,
      upgradeHead,
    }
    req.url = hostTree ? treeOf(tree) + read.target : read.target
    route(req, res)
  }

  let port = 0
  server.on('listening', () => {
    port = (server.address() as AddressInfo).port
  })
  server.on('connection', (socket: Socket) => {
    const none = metrics.route(NO_ROUTE)
    const keepalive = listen.timeouts.keepalive.value
    const connection = new ClientConnection(socket, peerOf(socket, shared.isTrusted, port), keepalive, overrun =>
      none.timeoutFired('listen.timeouts.keepalive', overrun),
    )
    bindConnection(socket, connection)
    if (probe?.owns(socket)) {
      // Beside the limit, which is for clients.
      server.maxConnections = listen.maxConnections + 1
      probes.add(socket)
      socket.on('close', () => {
        server.maxConnections = listen.maxConnections
        probes.delete(socket)
      })
      return
    }
    const place = sockets.add(socket)
    socket.on('close', () => sockets.remove(place))
    metrics.clientConnection('accepted')
  })
  server.on('drop', dropped => {
    if (dropped !== undefined && probe?.owns(dropped)) probe.refusedAtLimit()
    else metrics.clientConnection('refused_limit')
  })
  const arrive = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void => {
    const connection = connectionOf(req.socket)
    // What follows a request that was refused, in the same segment, is no request (RFC 9112 section 9.6).
    if (connection === undefined || connection.closing) return
    connection.requests++
    if (connection.user === undefined) enter(req, res, expectsContinue)
    else connection.inTurn(() => enter(req, res, expectsContinue))
  }
  server.on('request', (req, res) => arrive(req, res, false))
  server.on('checkContinue', (req, res) => arrive(req, res, true))
  // An expectation that nobody knows (RFC 9110 section 10.1.1 leaves the choice): dropped, and the request served.
  server.on('checkExpectation', (req, res) => arrive(req, res, false))
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    const connection = connectionOf(socket)
    if (connection === undefined || connection.closing) {
      socket.destroy()
      return
    }
    connection.requests++
    enter(req, responseOn(req, socket), false, head)
  })
  server.on('connect', (req: IncomingMessage, socket: Socket) => {
    const connection = connectionOf(socket)
    connection?.inTurn(() => refuser.refuseRaw(connection, connectRefusal(ROUTABLE), 'CONNECT', req.url ?? ''))
  })
  server.on('clientError', (error: Error, socket: Socket) => {
    const connection = connectionOf(socket)
    const refusal = parseRefusal(error, listen)
    if (connection === undefined || refusal === undefined || !socket.writable) {
      socket.destroy()
      return
    }
    const answer = (): void => {
      metrics.clientConnection(refusal.timeout === undefined ? 'parse_error' : 'header_timeout')
      refuser.refuseRaw(connection, refusal)
    }
    const refuse = (): void => {
      if (!connection.malformed(error, answer)) answer()
    }
    if (refusal.timeout === undefined) {
      refuse()
      return
    }
    // After a stall of the process Node's check runs before the sockets are read (stack fact 32): a head that is here by
    // now was in time as far as anybody can tell.
    const { requests } = connection
    setImmediate(() => {
      if (connection.requests === requests && socket.writable) refuse()
    })
  })
  return server
}
