/** W8: 30 000 requests spread over 500 routes, against as many on a gateway with one route. */
import type { Bench } from '../harness/bench.ts'
import { cpuMicros } from '../harness/processes.ts'
import { type Contender, type Kind, launch } from '../harness/proxies.ts'
import { median, ratios } from '../harness/statistics.ts'
import { CONNECTIONS } from './throughput.ts'

export interface Routes {
  readonly proxy: string
  readonly oneMicros: number
  readonly manyMicros: number
  readonly ratio: number
  readonly failed: number
}

const ROUTES = 500
const REQUESTS = 30_000

export async function manyRoutes(bench: Bench, kind: Kind, rounds: number): Promise<Routes> {
  const one = { proxy: await launch(bench, kind, 1), many: 1, seen: [] as number[] }
  const many = { proxy: await launch(bench, kind, ROUTES), many: ROUTES, seen: [] as number[] }
  let failed = 0
  // The first is for the compilers.
  for (let round = 0; round <= rounds; round++) {
    for (const side of round % 2 === 0 ? [one, many] : [many, one]) {
      const result = await batch(bench, side.proxy, side.many)
      failed += result.failed
      if (round > 0) side.seen.push(result.failed === 0 ? result.micros : Number.NaN)
    }
  }
  await Promise.all([one.proxy.stop(), many.proxy.stop()])
  return {
    proxy: kind.name,
    oneMicros: median(one.seen.filter(Number.isFinite)),
    manyMicros: median(many.seen.filter(Number.isFinite)),
    ratio: median(ratios(many.seen, one.seen)),
    failed,
  }
}

async function batch(bench: Bench, proxy: Contender, many: number): Promise<{ micros: number; failed: number }> {
  const before = cpuMicros(proxy.started.pid)
  const job = {
    kind: 'closed',
    port: proxy.port,
    path: '/r/%d/x',
    many,
    conns: CONNECTIONS,
    count: REQUESTS,
    ms: 30_000,
  } as const
  const { ok, errors, non2xx } = await bench.generator.run(job)
  return { micros: (cpuMicros(proxy.started.pid) - before) / ok, failed: errors + non2xx }
}
