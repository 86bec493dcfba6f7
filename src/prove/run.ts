/**
 * Proves a configuration. Cases wait for their timeouts side by side, so that a run takes about as long as the longest
 * of them; what costs CPU, the putting in place, is done one case after the other, so that the measuring does not
 * cause what it measures.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { startBlackHole } from './black-hole.ts'
import type { ProveCase, Unproven } from './case.ts'
import { enumerateCases, type Selection } from './cases.ts'
import type { Grounds, StartGateway } from './ground.ts'
import { LoopDelay } from './loop-delay.ts'
import { proveOne, type Result } from './prove-one.ts'
import { isLoopback, type KitTrust, scaled } from './rewire.ts'
import { together, triesAgain } from './schedule.ts'
import { testCa } from './tls-fixtures.ts'

const WARM_UPS = 8
/** After the last, for sockets to be closed for good, ms. */
const DESCRIPTORS_MS = 3000

export interface ProveOptions extends Selection {
  readonly start: StartGateway
  readonly version: string
  /** Factor on all durations; 1: as configured. */
  readonly scale?: number
  readonly progress?: (done: number, of: number, missed: number, result: Result) => void
}

export interface Proof {
  readonly hash: string
  readonly version: string
  readonly scale: number
  readonly results: readonly Result[]
  readonly unproven: readonly Unproven[]
  /** What is wrong with the process as a whole: descriptors left open, an address dialled that is not the kit's. */
  readonly wrong: readonly string[]
  /** Open before and after; -1: cannot be counted here. */
  readonly descriptors: { readonly before: number; readonly after: number }
  readonly tookMs: number
  readonly ok: boolean
}

export async function prove(asConfigured: Config, options: ProveOptions): Promise<Proof> {
  const { start, version, scale = 1, progress } = options
  const from = performance.now()
  const config = scaled(asConfigured, scale)
  const { cases, unproven } = enumerateCases(config, options)
  const loopDelay = new LoopDelay()
  const blackHole = await startBlackHole()
  const trust = await kitTrust(config)
  const grounds: Grounds = { start, version, trust: trust?.trust, blackHolePort: blackHole.port }
  const dials = watchDials()
  const before = await descriptors()
  const results = new Map<ProveCase, Result>()
  const told = (result: Result): void => {
    results.set(result.one, result)
    const missed = [...results.values()].filter(({ verdict }) => verdict === 'miss').length
    progress?.(results.size, cases.length, missed, result)
  }
  try {
    await warmUp(cases, config, grounds, loopDelay)
    await together(
      cases,
      async (one, underWay) => {
        told(await proveOne(one, config, grounds, loopDelay, underWay))
      },
      loopDelay,
    )
    await triesAgain([...results.values()], async ({ one, wrong, verdict }) => {
      const again = await proveOne(one, config, grounds, loopDelay, () => {})
      const missed = verdict !== 'proven'
      const result = missed && again.verdict === 'proven' ? { ...again, verdict: 'second try' as const, wrong } : again
      told(result)
      return result
    })
    const after = await settledDescriptors(before)
    const wrong = [...dials.strangers].map(address => `${address} was dialled, which is not the kit's`)
    if (after > before) wrong.push(`${after - before} file descriptors more are open than before`)
    const ordered = cases.flatMap(one => results.get(one) ?? [])
    return {
      hash: config.hash,
      version,
      scale,
      results: ordered,
      unproven,
      wrong,
      descriptors: { before, after },
      tookMs: performance.now() - from,
      ok: wrong.length === 0 && ordered.length === cases.length && ordered.every(({ verdict }) => verdict !== 'miss'),
    }
  } finally {
    dials.stop()
    loopDelay.stop()
    await trust?.remove()
    await blackHole.close()
  }
}

/** Code that runs for the first time is slow, and what it holds up would be measured: so the first runs do not count. */
async function warmUp(
  cases: readonly ProveCase[],
  config: Config,
  grounds: Grounds,
  loopDelay: LoopDelay,
): Promise<void> {
  const quick = cases.filter(({ configuredMs, crowd, plan }) => {
    return configuredMs === undefined && crowd === undefined && plan.does !== 'leaves'
  })
  for (const one of quick.slice(0, WARM_UPS)) await proveOne(one, config, grounds, loopDelay, () => {})
}

/** The kit's authority, in a file, for as long as it is needed; undefined where no upstream speaks TLS. */
async function kitTrust(config: Config): Promise<{ trust: KitTrust; remove(): Promise<void> } | undefined> {
  if (!config.upstreams.some(({ endpoints }) => endpoints[0]?.tls === true)) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'hopgate-prove-'))
  const caFile = join(folder, 'kit-ca.pem')
  await writeFile(caFile, testCa)
  return { trust: { caFile }, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** Every address that this process dials while it proves, unless it is its own. */
function watchDials(): { readonly strangers: ReadonlySet<string>; stop(): void } {
  const strangers = new Set<string>()
  const seen = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket }
    socket.on('connectionAttempt', (address: string, port: number) => {
      if (!isLoopback(address)) strangers.add(`${address}:${port}`)
    })
  }
  subscribe('net.client.socket', seen)
  return { strangers, stop: () => unsubscribe('net.client.socket', seen) }
}

async function descriptors(): Promise<number> {
  return (await readdir('/proc/self/fd').catch(() => [])).length
}

async function settledDescriptors(before: number): Promise<number> {
  const until = performance.now() + DESCRIPTORS_MS
  let now = await descriptors()
  while (now > before && performance.now() < until) {
    await delay(50)
    now = await descriptors()
  }
  return now
}
