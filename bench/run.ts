/**
 * `npm run bench`: everyone, everything, in under a quarter of an hour; writes docs/benchmarks.md and its chart.
 *   --quick         two minutes; writes no page
 *   --only W1,W6    these workloads only; writes no page
 *   --peers a,b     these proxies only (hopgate always); writes no page
 *   --docs          writes the page anyway
 *   --no-build      takes dist/ as it is
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openBench, root } from './harness/bench.ts'
import { perform } from './perform.ts'
import { QUICK, THOROUGH, WORKLOAD_IDS } from './plan.ts'
import { writePage } from './report/page.ts'
import { saveRaw } from './report/raw.ts'
import { printReport } from './report/tables.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    peers: { type: 'string' },
    docs: { type: 'boolean', default: false },
    'no-build': { type: 'boolean', default: false },
  },
})
const only = values.only?.split(',').map(id => id.trim().toUpperCase()) ?? WORKLOAD_IDS
const unknown = only.filter(id => !WORKLOAD_IDS.includes(id))
if (unknown.length > 0) {
  process.stderr.write(`bench: no such workload: ${unknown.join(', ')}; there are ${WORKLOAD_IDS.join(' ')}\n`)
  process.exit(64)
}

if (!existsSync(join(root, 'bench', 'node_modules'))) {
  process.stderr.write('bench: installing the Node peers\n')
  spawnSync('npm', ['ci', '--prefix', join(root, 'bench'), '--no-audit', '--no-fund'], {
    stdio: 'ignore',
    timeout: 120_000,
  })
}

const bench = await openBench({ quick: values.quick, build: !values['no-build'] })
const wanted = values.peers?.split(',').map(name => name.trim().toLowerCase())
const begun = Date.now()
const results = await perform(bench, {
  plan: values.quick ? QUICK : THOROUGH,
  only,
  wants: name => name === 'hopgate' || wanted === undefined || wanted.includes(name.toLowerCase()),
})
const report = { ...results, tookSeconds: Math.round((Date.now() - begun) / 1000) }
const raw = saveRaw(report)
process.stdout.write(printReport(report))
process.stdout.write(`\n${report.tookSeconds} s; raw numbers in ${raw}\n`)
const whole = !values.quick && values.only === undefined && wanted === undefined
if (whole || values.docs) {
  writePage(report)
  process.stdout.write('docs/benchmarks.md and docs/benchmarks.svg are written\n')
}
process.exit(0)
