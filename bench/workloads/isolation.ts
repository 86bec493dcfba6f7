/** W7: whether 500 exchanges that hang on one route are felt on another. */
import type { Bench } from '../harness/bench.ts'
import { sleep } from '../harness/processes.ts'
import type { Contender } from '../harness/proxies.ts'
import { quiet } from '../harness/statistics.ts'
import { LATENCY_RATE, WORKLOADS, warmUp } from './throughput.ts'

export interface Isolation {
  readonly proxy: string
  readonly aloneP99: number
  readonly besideP99: number
  readonly ratio: number
  readonly pairs: { readonly alone: readonly number[]; readonly beside: readonly number[] }
  readonly failed: number
  readonly hung: number
}

const HANGING = 500
/**
 * Requests before what counts: two young collections, in which a collector moves 500 new exchanges, and then no more. By a number,
 * as in a time a proxy that makes less garbage has fewer collections, and then one of these two in what counts.
 */
const MOVING = 8000
/** Of the same load as what counts, behind these. */
const WARM_MS = 1500

/** @param pairs how often it is measured alone and beside, in turn */
export async function isolation(
  bench: Bench,
  proxy: Contender,
  { pairs, ms }: { pairs: number; ms: number },
): Promise<Isolation> {
  const { generator } = bench
  const [small] = WORKLOADS
  if (small !== undefined) await warmUp(bench, proxy, small, 20_000)
  const alone: number[] = []
  const beside: number[] = []
  let failed = 0
  let hung = HANGING
  const measure = async (into: number[]): Promise<void> => {
    const job = { kind: 'rate', port: proxy.port, path: '/small', rate: LATENCY_RATE, conns: 32 } as const
    if (small !== undefined) await warmUp(bench, proxy, small, MOVING)
    await generator.run({ ...job, ms: WARM_MS })
    const { p99, errors, non2xx } = await generator.run({ ...job, ms })
    failed += errors + non2xx
    into.push(errors + non2xx === 0 ? p99 : Number.NaN)
  }
  for (let pair = 0; pair < pairs; pair++) {
    await measure(alone)
    const holding = generator.run({
      kind: 'hold',
      port: proxy.port,
      path: '/hold',
      conns: HANGING,
      ramp: 300,
      ms: 25_000,
    })
    const until = Date.now() + 3000
    while ((await generator.inFlight()) < HANGING && Date.now() < until) await sleep(50)
    hung = Math.min(hung, await generator.inFlight())
    await measure(beside)
    await generator.release()
    failed += (await holding).errors
  }
  const aloneP99 = quiet(alone)
  const besideP99 = quiet(beside)
  return { proxy: proxy.name, aloneP99, besideP99, ratio: besideP99 / aloneP99, pairs: { alone, beside }, failed, hung }
}
