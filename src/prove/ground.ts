/**
 * Where one case is proven: a gateway of its own, started from the user's configuration with its endpoints rewired,
 * the kit's upstreams behind it, and its log in memory. So whatever is found is this case's doing.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import type { LogCounts } from '../observe/log-sink.ts'
import type { LineSink } from '../observe/logger.ts'
import type { ProveCase } from './case.ts'
import { type Behaviour, startUpstream, type Upstream } from './faulty-upstream.ts'
import { aloneWith, type KitTrust, rewired } from './rewire.ts'
import { Samples } from './samples.ts'

/** A running gateway, as far as `prove` touches it: from outside. */
export interface ProvenGateway {
  readonly address: { readonly port: number }
  readonly adminAddress: { readonly port: number }
  cut(): void
  close(): Promise<void>
}

/** How a gateway is started: `startGateway`, or a test's own that starts a broken one. */
export type StartGateway = (parts: {
  readonly config: Config
  readonly sink: LineSink & LogCounts
  readonly version: string
  readonly kernelView: boolean
}) => Promise<ProvenGateway>

/** An access line, and when it was written (monotonic ms). */
export interface Line {
  readonly fields: Readonly<Record<string, unknown>>
  readonly at: number
}

export interface Ground {
  readonly port: number
  readonly lines: readonly Line[]
  readonly upstreams: readonly Upstream[]
  /** The stages of what is in flight, as the admin page has them. */
  stages(): Promise<readonly string[]>
  scrape(): Promise<Samples>
  /** Waits until `what` holds, looking ever less often; false after `patienceMs`. Nothing is timed by it. */
  until(what: () => boolean | Promise<boolean>, patienceMs: number): Promise<boolean>
  /** Stops the gateway; the upstreams stay to be looked at. */
  stop(): Promise<void>
  close(): Promise<void>
}

/** Between two looks, ms: a hundred cases that wait at once must not be what holds the event loop. */
const FIRST_PAUSE_MS = 5
const LAST_PAUSE_MS = 60

export interface Grounds {
  readonly start: StartGateway
  readonly version: string
  readonly trust: KitTrust | undefined
  /** The port that swallows SYNs, shared by all: nothing is ever said on it. */
  readonly blackHolePort: number
}

/** @param config the whole configuration, scaled where it is to be */
export async function openGround(one: ProveCase, config: Config, grounds: Grounds): Promise<Ground> {
  const { trust, blackHolePort, start, version } = grounds
  const route = config.routes.find(({ name }) => name === one.route)
  const proven = one.whole === true || route === undefined ? config : aloneWith(config, route)
  const upstreams: Upstream[] = []
  const isDark =
    one.upstream !== 'resets-when-reused' && one.upstream.on === 'dial' && one.upstream.then === 'black-hole'
  let ports = new Map<string, readonly number[]>()
  try {
    for (const { name, endpoints, pool } of proven.upstreams) {
      const tls = endpoints[0]?.tls === true
      // One endpoint does for a single request; where the pool is to be filled, there are as many as there are.
      const crowded = one.crowd !== undefined && one.adjust?.slots === undefined
      const count = crowded ? Math.min(endpoints.length, pool.maxConnections * endpoints.length) : 1
      const own: number[] = []
      for (let i = 0; i < count; i++) {
        if (isDark) own.push(blackHolePort)
        else {
          const upstream = await startUpstream(behaviourOf(one.upstream), tls ? { tls: 'good' } : {})
          upstreams.push(upstream)
          own.push(upstream.port)
        }
      }
      ports = new Map([...ports, [name, own]])
    }
    const lines: Line[] = []
    const counts = { access: 0, event: 0 }
    const gateway = await start({
      config: rewired(proven, ({ name }) => ports.get(name) ?? [], trust, one.adjust),
      version,
      // Each look costs milliseconds, and hundreds of gateways would look at the same kernel.
      kernelView: false,
      sink: {
        write: () => counts.event++,
        writeAccess: line => {
          counts.access++
          lines.push({ fields: JSON.parse(String(line)) as Record<string, unknown>, at: performance.now() })
        },
        written: counts,
        dropped: { access: 0, event: 0 },
        up: true,
        bufferedBytes: 0,
      },
    })
    return groundOf(gateway, lines, upstreams)
  } catch (error) {
    await Promise.all(upstreams.map(upstream => upstream.close()))
    throw error
  }
}

function groundOf(gateway: ProvenGateway, lines: readonly Line[], upstreams: readonly Upstream[]): Ground {
  const admin = `http://127.0.0.1:${gateway.adminAddress.port}`
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= (async () => {
      gateway.cut()
      await gateway.close()
    })()
    return stopped
  }
  return {
    port: gateway.address.port,
    lines,
    upstreams,
    stages: async () => {
      const page = (await (await fetch(`${admin}/-/inflight`)).json()) as readonly { readonly stage: string }[]
      return page.map(({ stage }) => stage)
    },
    scrape: async () => new Samples(await (await fetch(`${admin}/metrics`)).text()),
    until: async (what, patienceMs) => {
      const end = performance.now() + patienceMs
      for (let pauseMs = FIRST_PAUSE_MS; !(await what()); pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 1.3)) {
        if (performance.now() > end) return false
        await delay(pauseMs)
      }
      return true
    },
    stop,
    close: async () => {
      await stop()
      await Promise.all(upstreams.map(upstream => upstream.close()))
    },
  }
}

function behaviourOf(fault: ProveCase['upstream']): Behaviour {
  if (fault !== 'resets-when-reused') return fault
  return ({ indexOnConnection }) =>
    indexOnConnection === 0 ? { on: 'request', then: 'answer' } : { on: 'request', then: 'rst' }
}
