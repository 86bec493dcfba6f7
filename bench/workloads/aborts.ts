/** W6: every client leaves 10 ms into a call that takes the upstream 1 s. */
import type { Bench } from '../harness/bench.ts'
import type { StormResult } from '../harness/load.ts'
import { cpuMicros, rssBytes, sleep } from '../harness/processes.ts'
import type { Contender } from '../harness/proxies.ts'
import { median } from '../harness/statistics.ts'

export interface Storm extends StormResult {
  readonly proxy: string
  readonly seconds: number
  readonly cpuMicrosPerAbort: number
  readonly firstHalfBytes: number
  readonly secondHalfBytes: number
  readonly rssRatio: number
  /** hopgate only: what its ledger and its counters say. */
  readonly imbalance: number | undefined
  readonly counted: number | undefined
}

const PER_SECOND = 500
const LEAVE_MS = 10
const UPSTREAM_MS = 1000
const SAMPLE_MS = 250

export async function abortStorm(
  bench: Bench,
  proxy: Contender,
  { warmMs, ms }: { warmMs: number; ms: number },
): Promise<Storm> {
  const job = { port: proxy.port, path: `/slow/${UPSTREAM_MS}`, rate: PER_SECOND, leave: LEAVE_MS }
  await bench.generator.storm({ ...job, ms: warmMs })
  const countedBefore = (await scrape(proxy))?.aborts ?? 0
  const before = cpuMicros(proxy.started.pid)
  const samples: number[] = []
  const sampling = setInterval(() => samples.push(rssBytes(proxy.started.pid)), SAMPLE_MS)
  const running = bench.generator.storm({ ...job, ms })
  await sleep(ms)
  clearInterval(sampling)
  const result = await running
  const spent = cpuMicros(proxy.started.pid) - before
  const half = Math.floor(samples.length / 2)
  const firstHalfBytes = median(samples.slice(0, half))
  const secondHalfBytes = median(samples.slice(half))
  const after = await scrape(proxy)
  return {
    ...result,
    proxy: proxy.name,
    seconds: ms / 1000,
    cpuMicrosPerAbort: spent / result.aborts,
    firstHalfBytes,
    secondHalfBytes,
    rssRatio: secondHalfBytes / firstHalfBytes,
    imbalance: after?.imbalance,
    counted: after === undefined ? undefined : after.aborts - countedBefore,
  }
}

async function scrape(proxy: Contender): Promise<{ imbalance: number; aborts: number } | undefined> {
  if (proxy.name !== 'hopgate') return undefined
  const response = await fetch(`http://127.0.0.1:${proxy.adminPort}/metrics`, { signal: AbortSignal.timeout(5000) })
  const text = await response.text()
  const total = (pattern: RegExp): number => {
    return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Math.abs(Number(value)), 0)
  }
  return {
    imbalance: total(/^hopgate_accounting_imbalance\{[^}]*\} (\S+)$/gm),
    aborts: total(/^hopgate_requests_total\{[^}]*outcome="client_abort"[^}]*\} (\S+)$/gm),
  }
}
