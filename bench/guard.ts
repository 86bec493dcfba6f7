/**
 * `npm run bench:guard`: hopgate's W1 against bare @fastify/http-proxy, within a minute. Ends with 1 when a request costs
 * more than --max times as much CPU; the default is in guard.json.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openBench } from './harness/bench.ts'
import { type Contender, launch } from './harness/proxies.ts'
import { median } from './harness/statistics.ts'
import { costRatios, throughput, WORKLOADS, warmUp } from './workloads/throughput.ts'

const ROUNDS = 7
const ROUND_MS = 2000
const WARM_UP = 60_000
const PEER = '@fastify/http-proxy'

const { values } = parseArgs({ options: { max: { type: 'string' }, 'no-build': { type: 'boolean', default: false } } })
const committed = JSON.parse(readFileSync(new URL('guard.json', import.meta.url), 'utf8')) as { maxRatio: number }
const max = values.max === undefined ? committed.maxRatio : Number(values.max)
if (!(max > 0)) {
  process.stderr.write(`bench:guard: --max is to be a number above 0 (got ${values.max})\n`)
  process.exit(64)
}

const bench = await openBench({ quick: true, build: !values['no-build'] })
const [workload] = WORKLOADS
const proxies: Contender[] = []
for (const name of ['hopgate', PEER]) {
  const kind = bench.kinds.find(one => one.name === name)
  if (kind === undefined || kind.missing !== undefined) {
    process.stderr.write(`bench:guard: ${kind?.missing ?? `no such proxy: ${name}`}\n`)
    process.exit(69)
  }
  proxies.push(await launch(bench, kind))
}
if (workload === undefined) throw new Error('no workload')
for (const proxy of proxies) await warmUp(bench, proxy, workload, WARM_UP)
const [ours, theirs] = await throughput(bench, proxies, workload, { rounds: ROUNDS, ms: ROUND_MS })
if (ours === undefined || theirs === undefined) throw new Error('nothing was measured')

const pairs = costRatios(ours, theirs)
if (pairs.length < ROUNDS / 2) {
  process.stderr.write(
    `bench:guard: only ${pairs.length} of ${ROUNDS} rounds were without errors: ${ours.why} ${theirs.why}\n`,
  )
  process.exit(1)
}
const ratio = median(pairs)
const spread = `${Math.min(...pairs).toFixed(2)} to ${Math.max(...pairs).toFixed(2)} over ${pairs.length} rounds`
process.stdout.write(
  `hopgate, everything on: ${ours.cpuMicros.toFixed(1)} us of CPU per request; bare ${PEER}: ${theirs.cpuMicros.toFixed(1)} us\n` +
    `ratio ${ratio.toFixed(3)} (${spread}), limit ${max}: ${ratio <= max ? 'ok' : 'ABOVE THE LIMIT'}\n`,
)
process.exit(ratio <= max ? 0 : 1)
