/** W1 to W4: CPU per request and requests per second at saturation; W1 also what the proxy adds to the latency. */
import type { Bench } from '../harness/bench.ts'
import { type Result, saturate } from '../harness/load.ts'
import { cpuMicros, rssBytes } from '../harness/processes.ts'
import type { Contender } from '../harness/proxies.ts'
import { median, ratios, reasons, rotated } from '../harness/statistics.ts'

export interface Workload {
  readonly id: 'W1' | 'W2' | 'W3' | 'W4'
  readonly title: string
  readonly path: string
  readonly body?: number
  readonly close?: boolean
  /** Bytes of payload per request, for the cost per MB. */
  readonly payload: number
}

export const WORKLOADS: readonly Workload[] = [
  { id: 'W1', title: '500-byte GET, keep-alive', path: '/small', payload: 500 },
  { id: 'W2', title: '256 KB response', path: '/large', payload: 256 * 1024 },
  { id: 'W3', title: '64 KB POST', path: '/sink', body: 64 * 1024, payload: 64 * 1024 },
  { id: 'W4', title: '500-byte GET, a new connection each', path: '/small', close: true, payload: 500 },
]

export interface Round {
  readonly ok: number
  /** Per request. */
  readonly cpuMicros: number
  readonly rps: number
  readonly failed: number
}

export interface Throughput {
  readonly workload: Workload['id']
  readonly proxy: string
  /** Per request, the median of the rounds without an error; NaN if there was none. */
  readonly cpuMicros: number
  readonly rps: number
  readonly rssBytes: number
  readonly rounds: readonly Round[]
  readonly voided: number
  readonly why: string
}

export const CONNECTIONS = 64
const WARM_UP_MOST_MS = 8000

export async function throughput(
  bench: Bench,
  proxies: readonly Contender[],
  workload: Workload,
  { rounds, ms }: { rounds: number; ms: number },
): Promise<Throughput[]> {
  const seen = new Map(proxies.map(proxy => [proxy, [] as Round[]]))
  const why = new Map<Contender, Record<string, number>>()
  for (let round = 0; round < rounds; round++) {
    for (const proxy of rotated(proxies, round)) {
      // Who has answered nothing at all has had its chance: to wait for it once more takes longer than a round.
      if (seen.get(proxy)?.some(({ ok }) => ok === 0)) {
        seen.get(proxy)?.push({ ok: 0, cpuMicros: Number.NaN, rps: 0, failed: 0 })
        continue
      }
      const before = cpuMicros(proxy.started.pid)
      const result = await saturate(
        bench.generator,
        { ...workload, port: proxy.port, ms, conns: CONNECTIONS },
        bench.scripts,
      )
      const spent = cpuMicros(proxy.started.pid) - before
      seen.get(proxy)?.push({
        ok: result.ok,
        cpuMicros: spent / result.ok,
        rps: result.ok / result.seconds,
        failed: result.errors + result.non2xx,
      })
      note(why, proxy, result)
    }
  }
  return proxies.map(proxy => {
    const all = seen.get(proxy) ?? []
    const good = all.filter(isGood)
    return {
      workload: workload.id,
      proxy: proxy.name,
      cpuMicros: median(good.map(round => round.cpuMicros)),
      rps: median(good.map(round => round.rps)),
      rssBytes: rssBytes(proxy.started.pid),
      rounds: all,
      voided: all.length - good.length,
      why: reasons(why.get(proxy) ?? {}),
    }
  })
}

function isGood({ failed, ok }: Round): boolean {
  return failed === 0 && ok > 0
}

/** What `one` costs per request, as a ratio to `other`, in each round that was good for both. */
export function costRatios(one: Throughput | undefined, other: Throughput | undefined): number[] {
  const costs = (row: Throughput | undefined): number[] =>
    (row?.rounds ?? []).map(round => (isGood(round) ? round.cpuMicros : Number.NaN))
  return ratios(costs(one), costs(other))
}

function note(why: Map<Contender, Record<string, number>>, proxy: Contender, result: Result): void {
  const known = why.get(proxy) ?? {}
  if (result.non2xx > 0 && result.why['status'] === undefined)
    known['non-2xx'] = (known['non-2xx'] ?? 0) + result.non2xx
  for (const [what, count] of Object.entries(result.why)) known[what] = (known[what] ?? 0) + count
  why.set(proxy, known)
}

/**
 * Brings the just-in-time compilers, pools and caches to where they stay: by a number of requests, as a time would warm
 * nobody on a machine that is busy.
 */
export async function warmUp(bench: Bench, proxy: Contender, workload: Workload, count: number): Promise<void> {
  const job = { ...workload, kind: 'closed', port: proxy.port, conns: CONNECTIONS, count, ms: WARM_UP_MOST_MS } as const
  await bench.generator.run(job)
}

export interface Latency {
  readonly proxy: string
  /** Microseconds more than without a proxy. */
  readonly addedP50: number
  readonly addedP99: number
  readonly rounds: readonly { p50: number; p99: number; failed: number }[]
}

/** A tenth of what the slowest can take. */
export const LATENCY_RATE = 1500
const LATENCY_CONNECTIONS = 32

/** Open loop, at a fixed rate, beside the same without a proxy. */
export async function latency(
  bench: Bench,
  proxies: readonly Contender[],
  { rounds, ms }: { rounds: number; ms: number },
): Promise<{ direct: { p50: number; p99: number }; rows: Latency[] }> {
  const direct = { name: 'direct', port: bench.fastPort }
  const everyone = [direct, ...proxies]
  const seen = new Map(everyone.map(one => [one.name, [] as { p50: number; p99: number; failed: number }[]]))
  for (let round = 0; round < rounds; round++) {
    for (const { name, port } of rotated(everyone, round)) {
      const job = { kind: 'rate', port, path: '/small', rate: LATENCY_RATE, conns: LATENCY_CONNECTIONS, ms } as const
      const { p50, p99, errors, non2xx } = await bench.generator.run(job)
      seen.get(name)?.push({ p50, p99, failed: errors + non2xx })
    }
  }
  const medians = (name: string) => {
    const good = (seen.get(name) ?? []).filter(({ failed }) => failed === 0)
    return { p50: median(good.map(({ p50 }) => p50)), p99: median(good.map(({ p99 }) => p99)) }
  }
  const base = medians('direct')
  const rows = proxies.map(({ name }) => {
    const { p50, p99 } = medians(name)
    return { proxy: name, addedP50: p50 - base.p50, addedP99: p99 - base.p99, rounds: seen.get(name) ?? [] }
  })
  return { direct: base, rows }
}
