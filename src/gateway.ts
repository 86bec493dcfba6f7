/** Composition: everything a gateway is made of, built from a Config, started, drained and stopped in order. */
import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { type AdminServer, startAdmin } from './admin.ts'
import type { Config } from './config/config.ts'
import { interner } from './exchange/interner.ts'
import { trustedBy } from './exchange/peer.ts'
import { type BoundRoute, bindRoute, type InFlight, type Shared } from './exchange/route.ts'
import { SocketTable } from './exchange/socket-table.ts'
import { Vanished } from './exchange/vanished.ts'
import { Live } from './live/live.ts'
import { Ledger } from './observe/ledger.ts'
import type { LogCounts } from './observe/log-sink.ts'
import { createLogger, type GatewayLog, type LineSink } from './observe/logger.ts'
import { createMetrics, type Metrics } from './observe/metrics.ts'
import { NO_ROUTE } from './observe/route-metrics.ts'
import type { Outcome } from './outcome.ts'
import { type GatewayServer, startServer } from './server/server.ts'
import { Upstream } from './upstream/upstream.ts'
import { Watch } from './watch/watch.ts'

export interface Gateway {
  readonly address: AddressInfo
  readonly adminAddress: AddressInfo
  readonly log: GatewayLog
  /**
   * Leaves in good order: readyz turns red, `drain.delay` passes while everything is still served, then nothing new is
   * taken, and what is in flight may end until `drain.deadline`.
   * @returns how many exchanges had to be cut
   */
  drain(): Promise<number>
  /** Ends a drain, or the gateway, at once: what is in flight is cut as `drain_killed`. */
  cut(): void
  /** Stops listening and closes every connection. To be called after `drain` or `cut`. */
  close(): Promise<void>
}

export interface GatewayParts {
  readonly config: Config
  readonly sink: LineSink & LogCounts
  readonly version: string
  /** A thread that watches the event loop: for a process of the gateway's own. Default: none. */
  readonly watchdog?: boolean
  /** The kernel's view of it in its metrics. Default: yes; to be left out where many gateways live in one process. */
  readonly kernelView?: boolean
}

export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const { config, sink, version, watchdog = false, kernelView = true } = parts
  const ledger = new Ledger()
  const log = createLogger(sink, config.log.level)
  const upstreams = new Map(config.upstreams.map(upstream => [upstream.name, new Upstream(upstream, ledger.slots)]))
  const routes: BoundRoute[] = []
  let server: GatewayServer | undefined
  let quiet: (() => void) | undefined

  const inflight = (): number => routes.reduce((sum, route) => sum + route.inflight.size, 0)
  const exchanges = (): InFlight[] => routes.flatMap(route => [...route.inflight])
  ledger.requests.live = inflight
  const ticking = ({ inside, ticking }: InFlight): boolean => (inside?.timeouts.ticking ?? ticking) === true
  ledger.timers.live = () => (server?.timers() ?? 0) + exchanges().filter(ticking).length
  ledger.slots.live = () => sum([...upstreams.values()].flatMap(({ endpoints }) => endpoints.map(e => e.borrowedNow)))

  const watch = new Watch({
    config,
    watchdog,
    kernelView,
    routes,
    upstreams: [...upstreams.values()],
    log,
    listener: () => server?.address,
  })

  const byName = new Map<string, BoundRoute>()
  const metrics: Metrics = createMetrics(config, {
    version,
    ledger,
    log: sink,
    inflight: name => byName.get(name)?.inflight.size ?? 0,
    oldestInflightSeconds: name => {
      const oldest = byName.get(name)?.inflight.first
      return oldest === undefined ? 0 : oldest.ageMs(performance.now()) / 1000
    },
    queueDepth: name => upstreams.get(name)?.queued ?? 0,
    poolConnections: (name, url) => {
      const endpoint = upstreams.get(name)?.endpoints.find(({ config: { url: own } }) => own === url)
      return {
        connecting: endpoint?.count('connecting') ?? 0,
        active: endpoint?.count('active') ?? 0,
        idle: endpoint?.count('idle') ?? 0,
      }
    },
    idleCloses: name => sum((upstreams.get(name)?.endpoints ?? []).map(endpoint => endpoint.idleCloses)),
    clientConnections: () => server?.connections() ?? 0,
    kernel: () => watch.kernel,
    watch,
  })

  const table = new SocketTable()
  const shared: Shared = {
    ledger,
    isTrusted: trustedBy(config.listen.trustedProxies),
    newId: requestIds(),
    pseudonym: `hopgate-${randomBytes(6).toString('hex')}`,
    table,
    vanished: new Vanished(table),
    finished: record => {
      if (config.log.access) log.access(record)
      if (isFailure(record.outcome)) live.failed(record)
      if (quiet !== undefined && inflight() === 0) quiet()
    },
    closing: false,
    draining: false,
  }
  const intern = interner()
  for (const route of config.routes) {
    const upstream = upstreams.get(route.upstream)
    if (upstream === undefined) throw new Error(`route ${route.name}: no upstream ${route.upstream}`)
    const { reuse } = metrics.upstream(route.upstream)
    const bound = bindRoute(
      route,
      config,
      upstream,
      metrics.route(route.name),
      metrics.websocket(route.name),
      reuse,
      shared,
      intern,
    )
    routes.push(bound)
    byName.set(route.name, bound)
  }

  const live = new Live({
    config,
    version,
    routes,
    none: metrics.route(NO_ROUTE),
    upstreams: [...upstreams.values()],
    log: sink,
    ledger,
    watch,
    clientConnections: () => server?.connections() ?? 0,
    ready: () => server !== undefined && !shared.closing,
  })

  // 17 000 a day, all alike: written where lines of that kind are asked for.
  const probeLogged = config.log.level === 'debug' || config.log.level === 'trace'
  const admin: AdminServer = await startAdmin(config, {
    metrics,
    routes,
    upstreams: [...upstreams.values()],
    ready: () => server !== undefined && !shared.closing,
    watch,
    live,
  })
  try {
    // First: from the moment at which clients can connect, the loop is watched.
    await watch.start()
    server = await startServer(config.listen, { routes, shared, metrics, probe: watch.probe, probeLogged })
  } catch (error) {
    await Promise.all([watch.stop(), admin.close()])
    throw error
  }
  live.start()
  const listening = server

  let hurry: () => void = () => {}
  const cutSignal = new Promise<void>(resolve => {
    hurry = resolve
  })
  const within = (ms: number, event: Promise<void>): Promise<void> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, ms)
    })
    return Promise.race([late, event, cutSignal]).finally(() => clearTimeout(timer))
  }
  const never = new Promise<void>(() => {})

  return {
    address: server.address,
    adminAddress: admin.address,
    log,
    drain: async () => {
      shared.closing = true
      watch.leaving()
      await within(config.drain.delayMs, never)
      shared.draining = true
      listening.stopAccepting()
      const done = new Promise<void>(resolve => {
        quiet = resolve
      })
      for (const exchange of exchanges()) exchange.drain?.()
      if (inflight() > 0) await within(config.drain.deadlineMs, done)
      const left = exchanges()
      for (const exchange of left) exchange.drainKill()
      return left.length
    },
    cut: () => {
      shared.closing = true
      watch.leaving()
      shared.draining = true
      hurry()
      for (const exchange of exchanges()) exchange.drainKill()
    },
    close: async () => {
      await watch.stop()
      live.stop()
      await listening.close()
      await admin.close()
      for (const upstream of upstreams.values()) upstream.close()
      metrics.close()
    },
  }
}

/** As `hopgate_failures_total` counts them. */
function isFailure(outcome: Outcome): boolean {
  return outcome !== 'completed' && outcome !== 'tunnel_closed'
}

/** Unique in this process by a counter, between processes by 48 random bits: `5f3a9c0e12ab-1k`. */
function requestIds(): () => string {
  const process = randomBytes(6).toString('hex')
  let next = 0
  return () => `${process}-${(next++).toString(36)}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
