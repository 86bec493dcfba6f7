/** docs/benchmarks.md: all of it from the results, but for the prose between its two marks, which is kept. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../harness/bench.ts'
import type { Results } from '../perform.ts'
import { chart } from './chart.ts'
import { markdown, tables } from './tables.ts'

const BEGIN = '<!-- prose: kept by `npm run bench`, which writes everything else on this page -->'
const END = '<!-- end of prose -->'

export function writePage(results: Results & { readonly tookSeconds: number }): void {
  const file = join(root, 'docs', 'benchmarks.md')
  const svg = chart(results)
  if (svg !== undefined) writeFileSync(join(root, 'docs', 'benchmarks.svg'), svg)
  const { cpu, cores, memoryGiB, kernel, versions } = results.setting
  const preliminary = results.quick ? ['**A quick run: one round each. Not to be quoted.**', ''] : []
  const page = [
    '# Benchmarks',
    '',
    ...preliminary,
    ...(svg === undefined ? [] : ['![CPU time per request](benchmarks.svg)', '']),
    BEGIN,
    prose(file),
    END,
    '',
    ...tables(results).map(markdown),
    '## How it was measured',
    '',
    '```sh',
    'npm ci',
    `npm run bench${results.quick ? ' -- --quick' : ''}   # ${results.tookSeconds} s`,
    '```',
    '',
    `${results.when.slice(0, 10)}, ${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}. ` +
      `${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}.`,
    '',
    'Each proxy alone on core 0, load and upstream on core 1, 64 connections. CPU is utime + stime of the proxy and its children ' +
      'from `/proc`, per answered request. Rounds go from proxy to proxy in turn and the median counts; a round with an error ' +
      'or an answer other than 2xx is void. nginx, HAProxy, Go and Caddy have one worker, thread or GOMAXPROCS; all keep ' +
      'idle upstream connections for a minute at least. Their configurations are in [bench/peers](../bench/peers).',
    '',
    ...[...results.absent, ...results.remarks].map(line => `- ${line}`),
  ]
  writeFileSync(file, `${page.join('\n').trimEnd()}\n`)
}

function prose(file: string): string {
  const old = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const from = old.indexOf(BEGIN)
  const to = old.indexOf(END)
  return from >= 0 && to > from ? old.slice(from + BEGIN.length, to).trim() : ''
}
