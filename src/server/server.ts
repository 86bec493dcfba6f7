/**
 * The client-facing server: one Fastify listener, one registration for each route, and an exchange for every request.
 * Fastify finds the route and steps aside in `onRequest`: its own body parsers buffer, its reply and its signals hang
 * on the end of the request BODY (stack facts 1 to 3, 9).
 */
import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  METHODS,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type { ListenConfig } from '../config/config.ts'
import { bindConnection, ClientConnection, connectionOf } from '../exchange/client-connection.ts'
import { Exchange } from '../exchange/exchange.ts'
import { peerOf } from '../exchange/peer.ts'
import type { BoundRoute, Shared } from '../exchange/route.ts'
import type { Metrics } from '../observe/metrics.ts'
import { NO_ROUTE, SELFPROBE_ROUTE } from '../observe/route-metrics.ts'
import { Roster } from '../roster.ts'
import type { SelfProbe } from '../watch/self-probe.ts'
import { Upgrade } from '../websocket/upgrade.ts'
import { unacceptable } from './door.ts'
import { connectRefusal, malformed, parseRefusal } from './parse-error.ts'
import { answerProbe } from './probe-answer.ts'
import { type Refusal, Refuser } from './refusal.ts'
import { RouteMemo } from './route-memo.ts'
import { hostnameOf, readTarget } from './target.ts'
import { GatewayRequest, responseOn } from './upgrade.ts'

/** What the door knows of a request; carried to the route on the request itself. */
interface Arrival {
  target: string
  expectsContinue: boolean
  /** The path has a `%2F`. */
  encodedSlash: boolean
  /** The tree of routes it is looked up in: a host's, or the general one. */
  hostTree: boolean
  /** What came behind the head of a request for WebSocket; undefined: it is none. */
  upgradeHead: Buffer | undefined
}
const ARRIVAL = Symbol('hopgate.arrival')
type Arrived = IncomingMessage & { [ARRIVAL]: Arrival }

/** Every method that can be routed. CONNECT and TRACE are answered 405: the one tunnels, the other reflects headers. */
const ROUTABLE = METHODS.filter(method => method !== 'CONNECT' && method !== 'TRACE')

const NO_SUCH_PATH: Refusal = { outcome: 'no_route', stage: 'route' }

export interface GatewayServer {
  readonly address: AddressInfo
  readonly connections: () => number
  /** Takes no new connections; idle ones are closed, those with an exchange live on. */
  stopAccepting(): void
  /** Destroys every connection that is left. */
  close(): Promise<void>
}

export interface ServerDeps {
  readonly routes: readonly BoundRoute[]
  readonly shared: Shared
  readonly metrics: Metrics
  /** undefined: it is off. */
  readonly probe: SelfProbe | undefined
  /** Whether it gets access lines. */
  readonly probeLogged: boolean
}

export async function startServer(listen: ListenConfig, deps: ServerDeps): Promise<GatewayServer> {
  const { routes, shared, metrics, probe, probeLogged } = deps
  const refuser = new Refuser(shared, metrics.route(NO_ROUTE))
  const hosts = new Set(routes.flatMap(({ config }) => config.match.host ?? []))
  const sockets = new Roster<Socket>()
  /** The probe's: no clients. */
  const probes = new Set<Socket>()

  const memo = new RouteMemo<BoundRoute>()
  const app: FastifyInstance = Fastify({
    serverFactory: route =>
      createDoor(listen, deps, refuser, hosts, { sockets, probes }, (req, res) => {
        const known = memo.find(req.method ?? '', req.url ?? '')
        if (known === undefined) route(req, res)
        else begin(known, req as Arrived, res, refuser)
      }),
    exposeHeadRoutes: false,
    return503OnClosing: false,
    // The door answers what is not HTTP; Fastify's own handler would write its 400 before the answer that is still due.
    clientErrorHandler: () => {},
    routerOptions: {
      caseSensitive: true,
      ignoreTrailingSlash: false,
      maxParamLength: 65_536,
      querystringParser: noQuery,
    },
  })
  for (const method of ROUTABLE) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  // Nothing of a body is read before the exchange wants it, whatever its type.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  /** Not among its host's own routes: those that are for any host are next. */
  const amongGeneral = (req: Arrived, res: ServerResponse): void => {
    req[ARRIVAL].hostTree = false
    req.url = req[ARRIVAL].target
    app.routing(req, res)
  }

  for (const route of routes) {
    const { host, kind, path, methods } = route.config.match
    // Of an IPv6 host too: a single colon would begin a parameter.
    const tree = host === null ? '' : treeOf(host).replaceAll(':', '::')
    const pattern = tree + path.replaceAll(':', '::')
    const urls = kind === 'exact' ? [pattern] : path === '/' ? [`${tree}/*`] : [pattern, `${pattern}/*`]
    for (const url of urls) {
      app.route({
        method: methods === null ? ROUTABLE : [...methods],
        url,
        onRequest: (request, reply) => {
          reply.hijack()
          const req = request.raw as Arrived
          // The general `/*` takes the paths of every host's tree: more specific general routes go before it.
          if (host === null && req[ARRIVAL].hostTree) amongGeneral(req, reply.raw)
          else {
            memo.remember(req.method ?? '', req.url ?? '', route)
            begin(route, req, reply.raw, refuser)
          }
        },
        handler: unreachable,
      })
    }
  }

  if (probe !== undefined) {
    const cells = metrics.route(SELFPROBE_ROUTE)
    app.get(probe.path, {
      onRequest: (request, reply) => {
        reply.hijack()
        const req = request.raw
        const connection = connectionOf(req.socket)
        if (connection === undefined) return
        // The path is a secret of this process; even who knew it would find nothing here.
        if (probes.has(req.socket)) answerProbe(req, reply.raw, connection, cells, shared, probeLogged)
        else refuser.refuse(req, reply.raw, connection, NO_SUCH_PATH)
      },
      handler: unreachable,
    })
  }

  app.setNotFoundHandler((request, reply) => {
    const req = request.raw as Arrived
    const arrival = req[ARRIVAL]
    reply.hijack()
    if (arrival.hostTree) {
      amongGeneral(req, reply.raw)
      return
    }
    const connection = connectionOf(req.socket)
    if (connection === undefined) return
    const allow = methodsElsewhere(routes, hostnameOf(req.headers.host ?? ''), arrival.target)
    const method = req.method === 'TRACE' || allow.length > 0
    const why: Refusal = arrival.encodedSlash
      ? malformed('an encoded slash')
      : { outcome: 'no_route', stage: 'route', ...(method ? { status: 405, allow } : {}) }
    refuser.refuse(req, reply.raw, connection, why)
  })

  const { host, port } = listen.address
  await app.listen({ host, port, backlog: listen.backlog })
  const server = app.server as HttpServer
  return {
    address: server.address() as AddressInfo,
    connections: () => sockets.size,
    stopAccepting: () => {
      server.close()
      server.closeIdleConnections()
    },
    close: async () => {
      for (const socket of [...sockets, ...probes]) socket.destroy()
      await app.close()
    },
  }
}

/** The HTTP server below Fastify, and what is done with a request before it is routed. */
function createDoor(
  listen: ListenConfig,
  { shared, metrics, probe }: ServerDeps,
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

function begin(route: BoundRoute, req: Arrived, res: ServerResponse, refuser: Refuser): void {
  const connection = connectionOf(req.socket)
  if (connection === undefined) return
  const { target, expectsContinue, encodedSlash, upgradeHead } = req[ARRIVAL]
  if (encodedSlash && route.config.match.encodedSlashes === 'refuse') {
    refuser.refuse(req, res, connection, malformed('an encoded slash'))
    return
  }
  if (upgradeHead !== undefined) {
    const upgrade = new Upgrade(route, req, res, connection, target)
    try {
      upgrade.begin(upgradeHead)
    } catch (error) {
      upgrade.fail(error as Error)
    }
    return
  }
  const exchange = new Exchange(route, req, res, connection, target, expectsContinue)
  try {
    exchange.begin()
  } catch (error) {
    exchange.fail(error as Error)
  }
}

/** A path prefix no request can have: the root of the routes of one host. Normalised targets hold no control bytes. */
function treeOf(host: string): string {
  return `/\u0001${host}`
}

function unreachable(): never {
  throw new Error('unreachable: onRequest has taken the request')
}

function noQuery(): Record<string, string> {
  return {}
}

/** The methods with which some route would take this target. */
function methodsElsewhere(routes: readonly BoundRoute[], host: string, target: string): string[] {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  const allowed = new Set<string>()
  for (const { config } of routes) {
    const { match } = config
    if (match.host !== null && match.host !== host) continue
    const inside = match.kind === 'prefix' && (match.path === '/' || path.startsWith(`${match.path}/`))
    if (path === match.path || inside) for (const method of match.methods ?? ROUTABLE) allowed.add(method)
  }
  return [...allowed]
}
