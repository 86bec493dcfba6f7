/** W5: what an exchange that waits costs in memory. */
import type { Bench } from '../harness/bench.ts'
import { rssBytes, sleep } from '../harness/processes.ts'
import type { Contender } from '../harness/proxies.ts'
import { median, reasons } from '../harness/statistics.ts'
import { WORKLOADS, warmUp } from './throughput.ts'

export interface InFlight {
  readonly proxy: string
  readonly beforeBytes: number
  readonly duringBytes: number
  /** The growth over the exchanges in flight at that moment, the median of the fullest moments. */
  readonly perExchangeBytes: number
  /** The most that the upstream had in hand. */
  readonly reached: number
  readonly failed: number
  readonly why: string
}

const EXCHANGES = 5000
const DELAY_MS = 2000
const RAMP_MS = 1500

/** @param proxy freshly started: memory that an earlier workload left behind would hide what this one takes */
export async function inFlight(bench: Bench, proxy: Contender, { ms }: { ms: number }): Promise<InFlight> {
  const [small] = WORKLOADS
  if (small !== undefined) await warmUp(bench, proxy, small, 20_000)
  await sleep(300)
  const beforeBytes = rssBytes(proxy.started.pid)
  const job = {
    kind: 'closed',
    path: `/slow/${DELAY_MS}`,
    port: proxy.port,
    conns: EXCHANGES,
    ramp: RAMP_MS,
    ms,
  } as const
  let over = false
  const running = bench.generator.run(job).finally(() => {
    over = true
  })
  const samples: { inFlight: number; bytes: number }[] = []
  let reached = 0
  while (!over) {
    await Promise.race([sleep(100), running.catch(() => {})])
    if (over) break
    const now = await bench.generator.inFlight()
    reached = Math.max(reached, now)
    samples.push({ inFlight: now, bytes: rssBytes(proxy.started.pid) })
  }
  const result = await running
  const full = samples.filter(sample => sample.inFlight > 0 && sample.inFlight >= reached * 0.95)
  return {
    proxy: proxy.name,
    beforeBytes,
    duringBytes: median(full.map(({ bytes }) => bytes)),
    perExchangeBytes: median(full.map(sample => (sample.bytes - beforeBytes) / sample.inFlight)),
    reached,
    failed: result.errors + result.non2xx,
    why: reasons(result.why),
  }
}
