/** The operator-facing server: metrics, health, and what the gateway is doing right now. */
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { Config } from './config/config.ts'
import { effectiveTimeouts } from './config/effective.ts'
import type { BoundRoute } from './exchange/route.ts'
import type { Metrics } from './observe/metrics.ts'
import type { Upstream } from './upstream/upstream.ts'

export interface AdminServer {
  readonly address: AddressInfo
  close(): Promise<void>
}

export interface AdminDeps {
  readonly metrics: Metrics
  readonly routes: readonly BoundRoute[]
  readonly upstreams: readonly Upstream[]
  /** Listening, and not about to stop. */
  readonly ready: () => boolean
}

export async function startAdmin(config: Config, deps: AdminDeps): Promise<AdminServer> {
  const { metrics, routes, upstreams, ready } = deps
  const app = Fastify({ forceCloseConnections: true, return503OnClosing: false })

  app.get('/metrics', async (_request, reply) => {
    reply.header('content-type', metrics.contentType)
    return metrics.text()
  })
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    if (ready()) return { status: 'ready' }
    return reply.code(503).send({ status: 'draining' })
  })

  app.get('/-/inflight', async () => {
    const at = performance.now()
    return routes.flatMap(route =>
      [...route.inflight].map(exchange => ({
        request_id: exchange.requestId,
        route: route.name,
        stage: exchange.stageNow,
        age_ms: Math.round(exchange.ageMs(at)),
        method: exchange.method,
        path: exchange.path,
        client: exchange.clientAddress,
        endpoint: exchange.endpointUrl,
        ...(exchange.websocketMode === undefined ? {} : { websocket: exchange.websocketMode }),
      })),
    )
  })

  app.get('/-/routes', async () =>
    routes.map(route => ({
      name: route.name,
      match: route.config.match,
      upstream: route.config.upstream,
      streaming: route.config.streaming,
      on_client_abort: route.config.onClientAbort,
      in_flight: route.inflight.size,
      timeouts: effectiveTimeouts(route.config, config.listen).map(({ name, ms, origin, covered }) => ({
        name,
        ms: ms === Infinity ? 'off' : ms,
        origin,
        covered_by_request: covered,
        fired: route.metrics.timeoutCount(name),
        worst_overrun_ms: Math.round(route.metrics.worstOverrunMs(name) * 1000) / 1000,
      })),
    })),
  )

  app.get('/-/upstreams', async () =>
    upstreams.map(upstream => ({
      name: upstream.config.name,
      balance: upstream.config.balance,
      queue: { depth: upstream.queued, limit: upstream.config.pool.queue },
      endpoints: upstream.endpoints.map(endpoint => ({
        url: endpoint.config.url,
        max_connections: endpoint.pool.maxConnections,
        connecting: endpoint.count('connecting'),
        active: endpoint.count('active'),
        idle: endpoint.count('idle'),
      })),
    })),
  )

  await app.listen({ host: config.admin.host, port: config.admin.port })
  return { address: app.server.address() as AddressInfo, close: () => app.close() }
}
