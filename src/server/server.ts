/** The client-facing server: what is done with a request before it has a route, and who gets it then. */
import { METHODS } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ListenConfig } from '../config/config.ts'
import type { ClientConnection } from '../exchange/client-connection.ts'
import { Exchange } from '../exchange/exchange.ts'
import type { BoundRoute } from '../exchange/route.ts'
import type { ClientHead } from '../http1/request-head.ts'
import { NO_ROUTE, SELFPROBE_ROUTE } from '../observe/route-metrics.ts'
import { isWebSocketUpgrade } from '../websocket/switching.ts'
import { Upgrade } from '../websocket/upgrade.ts'
import { Listener, type ListenerDeps } from './listener.ts'
import { answerProbe } from './probe-answer.ts'
import { malformed, NO_SUCH_PATH, Refuser } from './refusal.ts'
import { Router } from './router.ts'
import { hostnameOf, readTarget } from './target.ts'

export interface GatewayServer {
  readonly address: AddressInfo
  readonly connections: () => number
  /** Of their connections, how many have a native timer set. */
  readonly timers: () => number
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

/** Every method that can be routed. CONNECT and TRACE are answered 405: the one tunnels, the other reflects headers. */
const ROUTABLE = METHODS.filter(method => method !== 'CONNECT' && method !== 'TRACE')

export async function startServer(listen: ListenConfig, deps: ServerDeps): Promise<GatewayServer> {
  const { routes, shared, metrics, probe, probeLogged } = deps
  const refuser = new Refuser(shared, metrics.route(NO_ROUTE))
  const router = new Router(routes, ROUTABLE)
  const probeCells = probe === undefined ? undefined : metrics.route(SELFPROBE_ROUTE)

  const enter = (connection: ClientConnection, request: ClientHead): void => {
    const { method, host } = request
    if (method === 'CONNECT') {
      refuser.refuse(
        connection,
        { outcome: 'no_route', stage: 'route', status: 405, allow: ROUTABLE, close: true },
        request,
      )
      return
    }
    const read = readTarget(request.target)
    if (read === undefined) {
      // RFC 9110 section 9.3.7: about the server as a whole, of which there is nothing to say.
      const options = method === 'OPTIONS' && request.target === '*'
      const why = options ? NO_SUCH_PATH : malformed('a target that can be read in two ways')
      refuser.refuse(connection, why, request)
      return
    }
    // RFC 9112 section 3.2.2 has Host ignored then; whoever reads the other of the two reads another request.
    if (read.authority !== undefined && read.authority !== host.toLowerCase()) {
      refuser.refuse(connection, malformed('a target that disagrees with Host'), request)
      return
    }
    const { target, encodedSlash } = read
    const query = target.indexOf('?')
    const path = query === -1 ? target : target.slice(0, query)
    if (probeCells !== undefined && path === probe?.path) {
      // The path is a secret of this process; even who knew it would find nothing here.
      if (!listener.probes.has(connection)) refuser.refuse(connection, NO_SUCH_PATH, request)
      else answerProbe(request, connection, probeCells, shared, probeLogged)
      return
    }
    const hostname = router.knowsHosts ? hostnameOf(host) : ''
    const route = router.find(method, hostname, path)
    if (encodedSlash && route?.config.match.encodedSlashes !== 'keep') {
      refuser.refuse(connection, malformed('an encoded slash'), request)
    } else if (route !== undefined) {
      begin(route, connection, request, target)
    } else {
      const allow = router.methodsFor(hostnameOf(host), path)
      const known = method === 'TRACE' || allow.length > 0
      refuser.refuse(connection, known ? { ...NO_SUCH_PATH, status: 405, allow } : NO_SUCH_PATH, request)
    }
  }

  const listener = new Listener(listen, deps, {
    request: enter,
    malformed: (connection, error) => {
      metrics.clientConnection('parse_error')
      const { status } = error
      refuser.refuse(connection, { outcome: 'bad_request', stage: 'request_headers', status, error })
    },
    headersTimedOut: (connection, overrun) => {
      metrics.clientConnection('header_timeout')
      refuser.refuse(connection, {
        outcome: 'client_timeout',
        stage: 'request_headers',
        timeout: 'listen.timeouts.headers',
        age: listen.timeouts.headers.value + overrun,
        overrun,
      })
    },
  })
  const address = await listener.open()
  return {
    address,
    connections: () => listener.size,
    timers: () => listener.timers,
    stopAccepting: () => listener.stopAccepting(),
    close: () => listener.close(),
  }
}

function begin(route: BoundRoute, connection: ClientConnection, request: ClientHead, target: string): void {
  const exchange = isWebSocketUpgrade(request)
    ? new Upgrade(route, request, connection, target)
    : new Exchange(route, request, connection, target)
  try {
    exchange.begin()
  } catch (error) {
    exchange.fail(error as Error)
  }
}
