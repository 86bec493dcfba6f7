/** One workload after the other. A proxy that cannot be started or fails a workload is named, and the rest goes on. */
import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './harness/bench.ts'
import { type Contender, type Kind, launch } from './harness/proxies.ts'
import type { Plan } from './plan.ts'
import { machine, type Setting } from './report/machine.ts'
import { abortStorm, type Storm } from './workloads/aborts.ts'
import { type InFlight, inFlight } from './workloads/in-flight.ts'
import { type Isolation, isolation } from './workloads/isolation.ts'
import { manyRoutes, type Routes } from './workloads/routes.ts'
import { type Latency, latency, type Throughput, throughput, WORKLOADS, warmUp } from './workloads/throughput.ts'

export interface Results {
  readonly when: string
  readonly quick: boolean
  readonly setting: Setting
  readonly proxies: readonly { readonly name: string; readonly does: string }[]
  /** Who is not here, or could not do something, and why. */
  readonly absent: string[]
  readonly remarks: readonly string[]
  readonly throughput: Throughput[]
  readonly latency: Latency[]
  direct: { readonly p50: number; readonly p99: number } | undefined
  readonly inFlight: InFlight[]
  readonly storms: Storm[]
  readonly isolation: Isolation[]
  readonly routes: Routes[]
}

export interface Wish {
  readonly plan: Plan
  readonly only: readonly string[]
  wants(name: string): boolean
}

export async function perform(bench: Bench, { plan, only, wants }: Wish): Promise<Results> {
  const asked = bench.kinds.filter(kind => wants(kind.name))
  const present = asked.filter(kind => kind.missing === undefined)
  const results: Results = {
    when: new Date().toISOString(),
    quick: plan.quick,
    setting: machine(),
    proxies: present.map(({ name, does }) => ({ name, does })),
    absent: asked.flatMap(({ name, missing }) => (missing === undefined ? [] : [`${name}: ${missing}`])),
    remarks: bench.remarks,
    throughput: [],
    latency: [],
    direct: undefined,
    inFlight: [],
    storms: [],
    isolation: [],
    routes: [],
  }
  for (const line of results.absent) bench.say(`missing: ${line}`)
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      const line = `${what}: ${(error as Error).message.split('\n').at(-1)}`
      bench.say(`failed: ${line}`)
      results.absent.push(line)
      return undefined
    }
  }

  const steady = WORKLOADS.filter(({ id }) => only.includes(id))
  if (steady.length > 0) await loadedTogether(bench, present, { plan, only }, results, attempt)

  const few = present.filter(
    ({ name, logs }) => plan.few?.includes(name) ?? (name === 'hopgate' || !(logs || W1_ONLY.includes(name))),
  )
  const alone = async (id: string, kind: Kind, work: (proxy: Contender) => Promise<unknown>): Promise<void> => {
    if (!only.includes(id)) return
    bench.say(`${id} ${kind.name}`)
    await attempt(`${id} ${kind.name}`, async () => {
      const proxy = await launch(bench, kind)
      try {
        await work(proxy)
      } finally {
        await proxy.stop()
        forgetLogs(bench)
      }
    })
  }
  for (const kind of few) {
    await alone('W5', kind, async proxy => {
      results.inFlight.push(await inFlight(bench, proxy, { ms: plan.inFlightMs }))
    })
  }
  for (const kind of few) {
    const { warmMs, hopgateMs, peerMs } = plan.storm
    await alone('W6', kind, async proxy => {
      results.storms.push(await abortStorm(bench, proxy, { warmMs, ms: isOurs(kind) ? hopgateMs : peerMs }))
    })
  }
  for (const kind of few) {
    await alone('W7', kind, async proxy => {
      const { pairs, peerPairs, ms } = plan.isolation
      results.isolation.push(await isolation(bench, proxy, { pairs: isOurs(kind) ? pairs : peerPairs, ms }))
    })
  }
  for (const kind of few) {
    // Whoever else routes does it by a table of its own; these two share Fastify's.
    if (!only.includes('W8') || !['hopgate', '@fastify/http-proxy'].includes(kind.name)) continue
    bench.say(`W8 ${kind.name}`)
    const { rounds, peerRounds } = plan.routes
    const times = isOurs(kind) ? rounds : peerRounds
    const routes = await attempt(`W8 ${kind.name}`, () => manyRoutes(bench, kind, times))
    if (routes !== undefined) results.routes.push(routes)
  }
  return results
}

/** What is promised is hopgate's, and measured for longer. */
function isOurs({ name }: Kind): boolean {
  return name === 'hopgate'
}

/** What a log costs is seen there; HAProxy's is one that hopgate is held against throughout. And what Node costs itself. */
const W1_ONLY: readonly string[] = ['Node', 'nginx +log', 'Caddy +log', '@fastify/http-proxy +log']

type Attempt = <T>(what: string, work: () => Promise<T>) => Promise<T | undefined>

/** W1 to W4: all proxies run side by side, one at a time has work. */
async function loadedTogether(
  bench: Bench,
  present: readonly Kind[],
  { plan, only }: Pick<Wish, 'plan' | 'only'>,
  results: Results,
  attempt: Attempt,
): Promise<void> {
  const proxies: Contender[] = []
  for (const kind of present) {
    const proxy = await attempt(kind.name, () => launch(bench, kind))
    if (proxy !== undefined) proxies.push(proxy)
  }
  for (const workload of WORKLOADS.filter(({ id }) => only.includes(id))) {
    const some = proxies.filter(({ name }) => workload.id === 'W1' || !W1_ONLY.includes(name))
    bench.say(`${workload.id} ${workload.title}: warming up ${some.length} proxies`)
    const requests = workload.id === 'W1' ? plan.warmUp : plan.warmUp / 12
    for (const proxy of some) {
      await attempt(`${workload.id} ${proxy.name}`, () => warmUp(bench, proxy, workload, requests))
    }
    const times = plan.throughput[workload.id]
    if (times === undefined) continue
    await attempt(workload.id, () => throughput(bench, some, workload, { rounds: plan.unseen, ms: times.ms }))
    bench.say(`${workload.id} ${times.rounds} x ${some.length} rounds of ${times.ms / 1000} s`)
    const rows = await attempt(workload.id, () => throughput(bench, some, workload, times))
    results.throughput.push(...(rows ?? []))
    forgetLogs(bench)
    if (workload.id !== 'W1') continue
    bench.say('W1 latency at a fixed rate')
    const seen = await attempt('W1 latency', () => latency(bench, proxies, plan.latency))
    results.latency.push(...(seen?.rows ?? []))
    results.direct = seen?.direct
  }
  await Promise.all(proxies.map(proxy => proxy.stop()))
}

/** Gigabytes, otherwise, and writeback in the middle of a later round. */
function forgetLogs({ dir }: Bench): void {
  for (const file of readdirSync(dir)) if (file.endsWith('.log')) truncateSync(join(dir, file))
}
