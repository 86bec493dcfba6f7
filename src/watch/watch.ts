/** Everything that watches over a running gateway, built and ended together. */
import type { AddressInfo } from 'node:net'
import type { Config } from '../config/config.ts'
import type { BoundRoute, InFlight } from '../exchange/route.ts'
import { nameOf } from '../exchange/socket-table.ts'
import type { KernelCounts } from '../observe/kernel-metrics.ts'
import type { GatewayLog } from '../observe/logger.ts'
import type { WatchCounts } from '../observe/watch-metrics.ts'
import type { Stage } from '../outcome.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { type CloseWaitReport, CloseWaitWatch } from './close-wait.ts'
import { KernelView } from './kernel-view.ts'
import { Overdue } from './overdue.ts'
import { SelfProbe } from './self-probe.ts'
import { Watchdog } from './watchdog.ts'

export interface WatchParts {
  readonly config: Config
  readonly routes: readonly BoundRoute[]
  readonly upstreams: readonly Upstream[]
  readonly log: GatewayLog
  /** With the watchdog, unless it is configured to be off: for a process that is the gateway's alone. */
  readonly watchdog: boolean
  /** With the kernel's view in the metrics. */
  readonly kernelView: boolean
  /** Where clients connect; undefined while nobody listens. */
  readonly listener: () => AddressInfo | undefined
}

/** Exchanges named in one log line, at most. */
const MOST_NAMED = 10

/** Exchanges that the watchdog names. */
const OLDEST_TOLD = 5

function first<T>(items: Iterable<T>, most: number): T[] {
  const found: T[] = []
  for (const item of items) {
    if (found.length === most) break
    found.push(item)
  }
  return found
}

export class Watch implements WatchCounts {
  readonly #kernel: KernelView
  readonly #overdue: Overdue
  readonly probe: SelfProbe | undefined
  readonly watchdog: Watchdog | undefined
  readonly #parts: WatchParts

  constructor(parts: WatchParts) {
    const { config, upstreams, listener, log } = parts
    this.#parts = parts
    this.probe =
      config.selfprobe === null
        ? undefined
        : new SelfProbe({ config: config.selfprobe, listener, changed: (up, why) => this.#probed(up, why) })
    this.watchdog =
      config.watchdog === null || !parts.watchdog
        ? undefined
        : new Watchdog({
            config: config.watchdog,
            oldest: () => this.#oldest(),
            ill: () => this.ailments().length > 0,
            recovered: ms => log.events.error({ stalled_ms: Math.round(ms) }, 'the event loop turns again'),
            lost: error => log.events.error({ err: error.message }, 'the watchdog thread has ended'),
          })
    this.#overdue = new Overdue(parts.routes, (exchange, byMs) => this.#outlived(exchange, byMs))
    const closeWait = new CloseWaitWatch(longestDeadlineMs(config), found => this.#closeWaitStays(found))
    this.#kernel = new KernelView({
      listener,
      backlog: config.listen.backlog,
      upstreams: upstreams.map(upstream => ({
        name: upstream.config.name,
        endpoints: upstream.config.endpoints,
        remotes: () => upstream.remotes(),
      })),
      closeWait: (found, at) => closeWait.look(found, at),
    })
  }

  get kernel(): KernelCounts {
    return this.#kernel
  }

  overdue(route: string, stage: Stage): number {
    return this.#overdue.count(route, stage)
  }

  /** What `/healthz` says: why the gateway is not well; empty: it is. */
  ailments(): string[] {
    const { now } = this.#overdue
    const late = now === 1 ? 'exchange has' : 'exchanges have'
    return [
      ...(now === 0 ? [] : [`${now} ${late} outlived a deadline: /-/stuck`]),
      ...(this.probe?.up === false ? [`the self-probe fails: ${this.probe.why}`] : []),
    ]
  }

  /** Rejects where the watchdog cannot listen. */
  async start(): Promise<void> {
    const answering = await this.watchdog?.start()
    if (answering) {
      const { address, port } = answering
      this.#parts.log.events.info({ address: `${address}:${port}` }, 'watchdog listening')
    }
    this.#overdue.start()
    this.probe?.start()
    if (!this.#parts.kernelView) return
    this.#kernel.start()
    if (!this.#kernel.available) {
      this.#parts.log.events.info('no /proc here: the metrics of the kernel (sockets, accept queue) are absent')
    }
  }

  /** To be awaited before the metrics are shown. Never rejects. */
  refresh(): Promise<void> {
    return this.#parts.kernelView ? this.#kernel.refresh() : Promise.resolve()
  }

  /** The gateway is about to stop listening: that it then does not answer itself is no illness. */
  leaving(): void {
    this.probe?.stop()
  }

  async stop(): Promise<void> {
    this.leaving()
    this.#overdue.stop()
    this.#kernel.stop()
    await this.watchdog?.stop()
  }

  /** Of each route the first are the oldest. */
  #oldest() {
    const at = performance.now()
    return this.#parts.routes
      .flatMap(({ inflight }) => first(inflight, OLDEST_TOLD))
      .sort((a, b) => b.ageMs(at) - a.ageMs(at))
      .slice(0, OLDEST_TOLD)
      .map(exchange => described(exchange, at))
  }

  #probed(up: boolean, why: string): void {
    const { events } = this.#parts.log
    if (up) events.info('the self-probe succeeds again')
    else events.error({ why }, 'the self-probe fails: /healthz is 503')
  }

  #outlived(exchange: InFlight, byMs: number): void {
    const at = performance.now()
    if (exchange.inside === undefined) return
    const { timeouts, timeline } = exchange.inside
    const { queue, connect, requestWrite, responseHeaders, responseBody } = timeline.times(at)
    const reached = Object.entries({
      t_queue: queue,
      t_connect: connect,
      t_request_write: requestWrite,
      t_response_headers: responseHeaders,
      t_response_body: responseBody,
    }).filter(([, ms]) => ms >= 0)
    this.#parts.log.events.error(
      {
        ...described(exchange, at),
        overdue_ms: Math.round(byMs),
        timeout: timeouts.nearest(at)?.timeout,
        ...Object.fromEntries(reached.map(([name, ms]) => [name, Math.round(ms)])),
      },
      'an exchange has outlived its deadline: its timer was lost',
    )
  }

  #closeWaitStays({ side, sockets, forMs, names }: CloseWaitReport): void {
    const held = new Set(names)
    const at = performance.now()
    const exchanges = this.#parts.routes
      .flatMap(({ inflight }) => [...inflight])
      .filter(({ socket, upstreamSocket }) => [socket, upstreamSocket].some(one => one && held.has(nameOf(one))))
      .slice(0, MOST_NAMED)
      .map(exchange => described(exchange, at))
    this.#parts.log.events.warn(
      { side, sockets, for_ms: Math.round(forMs), exchanges },
      'sockets stay in CLOSE_WAIT for longer than any deadline: their peers have left, and they were not closed',
    )
  }
}

/** An exchange as log lines and pages name it. */
export function described(exchange: InFlight, at: number) {
  return {
    request_id: exchange.requestId,
    route: exchange.route.name,
    stage: exchange.stageNow,
    age_ms: Math.round(exchange.ageMs(at)),
    endpoint: exchange.endpointUrl,
  }
}

/** Of those that are not `off`, ms. */
function longestDeadlineMs({ listen, routes }: Config): number {
  const all = [listen.timeouts, ...routes.map(({ timeouts }) => timeouts)].flatMap(group =>
    Object.values(group).map(({ value }) => value),
  )
  return Math.max(...all.filter(Number.isFinite))
}
