/** The results as tables, for the terminal and for the page alike. */
import { median } from '../harness/statistics.ts'
import type { Results } from '../perform.ts'
import { costRatios, WORKLOADS, type Workload } from '../workloads/throughput.ts'
import { judge } from './targets.ts'

export interface Table {
  readonly title: string
  readonly note: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const us = (micros: number): string => (Number.isFinite(micros) ? micros.toFixed(micros < 100 ? 1 : 0) : '-')
const ms = (micros: number): string => (Number.isFinite(micros) ? (micros / 1000).toFixed(2) : '-')
const kib = (bytes: number): string => (Number.isFinite(bytes) ? (bytes / 1024).toFixed(1) : '-')
const mib = (bytes: number): string => (Number.isFinite(bytes) ? (bytes / 2 ** 20).toFixed(0) : '-')
const ratio = (value: number): string => (Number.isFinite(value) ? value.toFixed(2) : '-')
const count = (value: number): string => (Number.isFinite(value) ? Math.round(value).toLocaleString('en-US') : '-')

export function tables(results: Results): readonly Table[] {
  const named = (name: string): string => {
    const does = results.proxies.find(proxy => proxy.name === name)?.does ?? ''
    return does === '' ? name : `${name} (${does})`
  }
  const steady = WORKLOADS.map(workload => steadyTable(results, workload, named))
  const all = [
    { ...targetTable(results) },
    ...steady,
    latencyTable(results, named),
    {
      title: 'W5: 5000 exchanges in flight, the upstream answers after 2 s',
      note: 'What the RSS has grown by since the process was warm and idle, over the exchanges in flight, where these are most. "Most at once" is to be 5000: less says that the proxy, or the machine, could not keep up.',
      head: ['proxy', 'KiB per exchange', 'hopgate / it', 'RSS before MiB', 'RSS during MiB', 'most at once', 'errors'],
      rows: results.inFlight.map(row => [
        named(row.proxy),
        kib(row.perExchangeBytes),
        ratio(own(results.inFlight, 'perExchangeBytes') / row.perExchangeBytes),
        mib(row.beforeBytes),
        mib(row.duringBytes),
        count(row.reached),
        `${row.failed}${row.why === '' ? '' : ` (${row.why})`}`,
      ]),
    },
    {
      title: 'W6: abort storm, 500 a second, each client leaves 10 ms into a 1 s upstream call',
      note: 'Closed: from the client’s close to the close of the upstream’s connection. "Ran on" counts the calls that the upstream finished for nobody. RSS: median of the second half against that of the first.',
      head: [
        'proxy',
        's',
        'aborts',
        'CPU us per abort',
        'closed p50 ms',
        'closed p99 ms',
        'ran on',
        'RSS ratio',
        'imbalance',
        'errors',
      ],
      rows: results.storms.map(row => [
        named(row.proxy),
        String(row.seconds),
        count(row.aborts),
        us(row.cpuMicrosPerAbort),
        row.closed > 0 ? ms(row.p50) : '-',
        row.closed > 0 ? ms(row.p99) : '-',
        count(row.ranToItsEnd),
        row.rssRatio.toFixed(3),
        row.imbalance === undefined ? '' : `${row.imbalance} (${row.counted} of ${row.aborts} counted)`,
        String(row.errors),
      ]),
    },
    {
      title: 'W7: 500 exchanges hang on route A, p99 of route B',
      note: 'Open loop on route B, in turn without and with A hanging, each after a while of the same load; the lower quartiles of several such windows of hopgate, and one of each of the others.',
      head: ['proxy', 'alone p99 ms', 'beside p99 ms', 'ratio', 'hanging', 'errors'],
      rows: results.isolation.map(row => [
        named(row.proxy),
        ms(row.aloneP99),
        ms(row.besideP99),
        ratio(row.ratio),
        count(row.hung),
        String(row.failed),
      ]),
    },
    {
      title: 'W8: 30 000 requests over 500 routes against 1 route',
      note: 'CPU per request, rounds in turn. Medians; the ratio is that of the pairs.',
      head: ['proxy', '1 route us', '500 routes us', 'ratio', 'errors'],
      rows: results.routes.map(row => [
        named(row.proxy),
        us(row.oneMicros),
        us(row.manyMicros),
        ratio(row.ratio),
        String(row.failed),
      ]),
    },
  ]
  return all.filter(({ rows }) => rows.length > 0)
}

function own<K extends string>(
  rows: readonly ({ readonly proxy: string } & Readonly<Record<K, number>>)[],
  key: K,
): number {
  const row = rows.find(({ proxy }) => proxy === 'hopgate')
  return row === undefined ? Number.NaN : row[key]
}

function steadyTable(results: Results, workload: Workload, named: (name: string) => string): Table {
  const rows = results.throughput.filter(row => row.workload === workload.id)
  const ours = rows.find(({ proxy }) => proxy === 'hopgate')
  const heavy = workload.payload > 1000
  const perMb = (micros: number): string => us(micros / (workload.payload / 1e6))
  const sorted = [...rows].sort((a, b) => (a.cpuMicros || 1e9) - (b.cpuMicros || 1e9))
  return {
    title: `${workload.id}: ${workload.title}`,
    note: 'Medians of the rounds; the ratio is the median of the ratios within each round.',
    head: [
      'proxy',
      'CPU us/request',
      ...(heavy ? ['CPU us/MB'] : []),
      'hopgate / it',
      'requests/s',
      'RSS MiB',
      'void rounds',
    ],
    rows: sorted.map(row => [
      named(row.proxy),
      us(row.cpuMicros),
      ...(heavy ? [perMb(row.cpuMicros)] : []),
      ratio(median(costRatios(ours, row))),
      count(row.rps),
      mib(row.rssBytes),
      row.voided === 0 ? '0' : `${row.voided} of ${row.rounds.length} (${row.why})`,
    ]),
  }
}

function latencyTable(results: Results, named: (name: string) => string): Table {
  const { p50, p99 } = results.direct ?? { p50: Number.NaN, p99: Number.NaN }
  return {
    title: 'W1: added latency at 1500 requests a second',
    note: `Open loop, from when a request was due; without a proxy p50 is ${us(p50)} us and p99 ${us(p99)} us.`,
    head: ['proxy', 'added p50 us', 'added p99 us', 'errors'],
    rows: [...results.latency]
      .sort((a, b) => a.addedP50 - b.addedP50)
      .map(row => [
        named(row.proxy),
        us(row.addedP50),
        us(row.addedP99),
        String(row.rounds.reduce((sum, { failed }) => sum + failed, 0)),
      ]),
  }
}

function targetTable(results: Results): Table {
  return {
    title: 'Targets',
    note: 'hopgate with everything on, as a ratio to each.',
    head: ['what', 'measured', 'target', ''],
    rows: judge(results).map(({ what, measured, most, unit }) => [
      what,
      `${measured.toFixed(2)}${unit}`,
      most === undefined ? 'report' : `<= ${most}${unit}`,
      most === undefined ? '' : measured <= most ? 'met' : 'missed',
    ]),
  }
}

export function printReport(results: Results): string {
  const lines = [...results.absent.map(line => `missing: ${line}`), ...results.remarks.map(line => `note: ${line}`)]
  for (const { title, note, head, rows } of tables(results)) {
    const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map(row => row[i]?.length ?? 0)))
    const line = (row: readonly string[]): string => {
      return row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  ')
        .trimEnd()
    }
    lines.push('', title, ...(note === '' ? [] : [note]), line(head), ...rows.map(line))
  }
  return `${lines.join('\n')}\n`
}

export function markdown({ title, note, head, rows }: Table): string {
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`
  const rule = `|${head.map((_, i) => (i === 0 ? '---' : '---:')).join('|')}|`
  return [`## ${title}`, '', ...(note === '' ? [] : [note, '']), line(head), rule, ...rows.map(line), ''].join('\n')
}
