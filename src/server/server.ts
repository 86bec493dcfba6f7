/**
 * The client-facing server: one Fastify listener, one registration for each route, and an exchange for every request.
 * Fastify finds the route and steps aside in `onRequest`: its own body parsers buffer, its reply and its signals hang
 * on the end of the request BODY (stack facts 1 to 3, 9).
 */
import type { Server as HttpServer, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type { ListenConfig } from '../config/config.ts'
import { connectionOf } from '../exchange/client-connection.ts'
import { Exchange } from '../exchange/exchange.ts'
import type { BoundRoute } from '../exchange/route.ts'
import { NO_ROUTE, SELFPROBE_ROUTE } from '../observe/route-metrics.ts'
import { Roster } from '../roster.ts'
import { Upgrade } from '../websocket/upgrade.ts'
import { ARRIVAL, type Arrived, NO_SUCH_PATH, ROUTABLE, treeOf } from './arrival.ts'
import { createListener, type ListenerDeps } from './listener.ts'
import { malformed } from './parse-error.ts'
import { answerProbe } from './probe-answer.ts'
import { type Refusal, Refuser } from './refusal.ts'
import { RouteMemo } from './route-memo.ts'
import { hostnameOf } from './target.ts'

export interface GatewayServer {
  readonly address: AddressInfo
  readonly connections: () => number
  /** Takes no new connections; idle ones are closed, those with an exchange live on. */
  stopAccepting(): void
  /** Destroys every connection that is left. */
  close(): Promise<void>
}

export interface ServerDeps extends ListenerDeps {
  readonly routes: readonly BoundRoute[]
  /** Whether the probe gets access lines. */
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
      createListener(listen, deps, refuser, hosts, { sockets, probes }, (req, res) => {
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
