/** The operator-facing server: metrics, health, and what the gateway is doing right now. */
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { Config } from './config/config.ts'
import { effectiveTimeouts } from './config/effective.ts'
import type { BoundRoute } from './exchange/route.ts'
import { PAGE_HEADERS } from './live/assets.ts'
import type { Live } from './live/live.ts'
import type { Metrics } from './observe/metrics.ts'
import { NO_ROUTE } from './observe/route-metrics.ts'
import type { Upstream } from './upstream/upstream.ts'
import { effectivePage, OF_CONNECTIONS, stuckPage } from './watch/debug-pages.ts'
import { isFromHere, Recorder } from './watch/recorder.ts'
import type { Watch } from './watch/watch.ts'

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
  readonly watch: Watch
  readonly live: Live
}

/** A number in the query; NaN where it is none. */
function numberIn(url: string, name: string, otherwise: number): number {
  const text = new URL(url, 'http://admin').searchParams.get(name)
  return text === null ? otherwise : text.trim() === '' ? Number.NaN : Number(text)
}

export async function startAdmin(config: Config, deps: AdminDeps): Promise<AdminServer> {
  const { metrics, routes, upstreams, ready, watch, live } = deps
  const none = metrics.route(NO_ROUTE)
  const app = Fastify({ forceCloseConnections: true, return503OnClosing: false })

  app.get('/metrics', async (_request, reply) => {
    await watch.refresh()
    reply.header('content-type', metrics.contentType)
    return metrics.text()
  })
  app.get('/healthz', async (_request, reply) => {
    const reasons = watch.ailments()
    return reasons.length === 0 ? { status: 'ok' } : reply.code(503).send({ status: 'failing', reasons })
  })
  app.get('/readyz', async (_request, reply) => {
    if (ready()) return { status: 'ready' }
    return reply.code(503).send({ status: 'draining' })
  })

  for (const { path, type, body } of live.assets) {
    app.get(path, async (_request, reply) => reply.headers(PAGE_HEADERS).type(type).send(body))
  }
  // No HEAD beside it: a stream has no end.
  app.get('/-/live', { exposeHeadRoute: false }, (_request, reply) => {
    if (live.full) return reply.code(503).header('retry-after', '5').send({ error: 'too many live pages are open' })
    reply.hijack()
    live.open(reply.raw)
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
      timeouts: effectiveTimeouts(route.config, config.listen).map(({ name, ms, origin, covered }) => {
        const counted = OF_CONNECTIONS.includes(name) ? none : route.metrics
        return {
          name,
          ms: ms === Infinity ? 'off' : ms,
          origin,
          covered_by_request: covered,
          fired: counted.timeoutCount(name),
          worst_overrun_ms: Math.round(counted.worstOverrunMs(name) * 1000) / 1000,
        }
      }),
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

  app.get('/-/stuck', async (request, reply) => {
    const share = numberIn(request.url, 'share', 0.5)
    if (!(share >= 0 && share <= 1)) return reply.code(400).send({ error: 'share: allowed 0 to 1' })
    return stuckPage(routes, share)
  })
  app.get('/-/effective', async () => effectivePage(config, routes, none))

  const recorder = new Recorder()
  const attached = (name: string): string =>
    `attachment; filename="hopgate-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.${name}"`
  app.get('/-/cpuprofile', async (request, reply) => {
    const seconds = numberIn(request.url, 'seconds', 5)
    if (!(seconds >= 1 && seconds <= 60)) return reply.code(400).send({ error: 'seconds: allowed 1 to 60' })
    if (recorder.busy) return reply.code(409).send({ error: `${recorder.busy} is being taken` })
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    const profile = await recorder.cpuProfile(seconds * 1000, gone.signal)
    return reply.header('content-disposition', attached('cpuprofile')).type('application/json').send(profile)
  })
  app.get('/-/heapsnapshot', async ({ raw }, reply) => {
    if (!isFromHere(raw.socket.remoteAddress ?? '', raw.headers.host ?? '')) {
      return reply.code(403).send({ error: 'holds every secret of the process: to this machine only, over loopback' })
    }
    if (recorder.busy) return reply.code(409).send({ error: `${recorder.busy} is being taken` })
    reply.header('content-disposition', attached('heapsnapshot')).type('application/json')
    return reply.send(recorder.heapSnapshot())
  })

  await app.listen({ host: config.admin.host, port: config.admin.port })
  return { address: app.server.address() as AddressInfo, close: () => app.close() }
}
