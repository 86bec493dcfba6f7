/** What hopgate promises to cost beside the others, and whether it does. */
import { median } from '../harness/statistics.ts'
import type { Results } from '../perform.ts'
import { costRatios, type Throughput } from '../workloads/throughput.ts'

interface Target {
  readonly workload: string
  readonly peer: string
  /** undefined: reported only. */
  readonly most: number | undefined
}

const HAPROXY = 'HAProxy +log'

const TARGETS: readonly Target[] = [
  { workload: 'W1', peer: '@fastify/http-proxy', most: 0.6 },
  { workload: 'W1', peer: 'Go ReverseProxy', most: 0.68 },
  { workload: 'W1', peer: 'Caddy', most: 0.55 },
  { workload: 'W1', peer: HAPROXY, most: 1.35 },
  ...['W2', 'W3'].flatMap(workload => [
    { workload, peer: '@fastify/http-proxy', most: 0.75 },
    { workload, peer: 'Go ReverseProxy', most: 1 },
    { workload, peer: 'Caddy', most: 0.9 },
    { workload, peer: HAPROXY, most: undefined },
  ]),
  { workload: 'W4', peer: '@fastify/http-proxy', most: 0.75 },
  { workload: 'W4', peer: 'Go ReverseProxy', most: 1 },
  { workload: 'W4', peer: 'Caddy', most: 0.9 },
  { workload: 'W4', peer: HAPROXY, most: undefined },
]

export interface Verdict {
  readonly what: string
  readonly measured: number
  readonly most: number | undefined
  readonly unit: string
}

export function judge(results: Results): readonly Verdict[] {
  const verdicts: Verdict[] = []
  const add = (what: string, measured: number | undefined, most: number | undefined, unit = ''): void => {
    if (measured !== undefined && Number.isFinite(measured)) verdicts.push({ what, measured, most, unit })
  }
  const cost = (workload: string, proxy: string): Throughput | undefined => {
    return results.throughput.find(row => row.workload === workload && row.proxy === proxy)
  }
  for (const { workload, peer, most } of TARGETS) {
    add(`${workload} CPU against ${peer}`, median(costRatios(cost(workload, 'hopgate'), cost(workload, peer))), most)
  }
  const memory = (proxy: string): number => {
    return results.inFlight.find(row => row.proxy === proxy)?.perExchangeBytes ?? Number.NaN
  }
  add('W5 RSS per exchange against @fastify/http-proxy', memory('hopgate') / memory('@fastify/http-proxy'), 1)
  add('W5 RSS per exchange against Go ReverseProxy', memory('hopgate') / memory('Go ReverseProxy'), undefined)
  const storm = results.storms.find(({ proxy }) => proxy === 'hopgate')
  add('W6 abort to upstream closed, p99', storm === undefined ? undefined : storm.p99 / 1000, 10, ' ms')
  add('W6 RSS of the second half against the first', storm?.rssRatio, 1.05)
  add('W6 accounting imbalance', storm?.imbalance, 0)
  add('W7 p99 beside 500 hanging exchanges', results.isolation.find(({ proxy }) => proxy === 'hopgate')?.ratio, 1.2)
  add('W8 CPU over 500 routes against 1', results.routes.find(({ proxy }) => proxy === 'hopgate')?.ratio, 1.05)
  return verdicts
}
