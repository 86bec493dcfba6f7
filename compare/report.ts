/** The table, for a terminal and for docs/comparison.md. */
import { cpus, release } from 'node:os'
import type { Case } from './cases.ts'
import type { Peer } from './peers.ts'
import { LATE_MS, TIMEOUTS } from './timeouts.ts'
import type { Verdict } from './verdict.ts'

export interface Column {
  readonly peer: Peer
  /** Undefined: not installed. */
  readonly version: string | undefined
  readonly verdicts: ReadonlyMap<string, Verdict>
}

type Mark = 'right' | 'wrong' | 'not configurable' | 'skipped'

function markOf({ peer, verdicts }: Column, name: string): Mark {
  const verdict = verdicts.get(name)
  if (verdict === undefined) return 'skipped'
  if (verdict.wrong.length === 0) return 'right'
  return peer.cannot[name] === undefined ? 'wrong' : 'not configurable'
}

const SHORT: Readonly<Record<Mark, string>> = { right: 'ok', wrong: 'WRONG', 'not configurable': 'n/c', skipped: '-' }

function count(column: Column, cases: readonly Case[], mark: Mark): number {
  return cases.filter(({ name }) => markOf(column, name) === mark).length
}

function lines(cases: readonly Case[], columns: readonly Column[], mark: Mark): string[] {
  return columns.flatMap(column =>
    cases
      .filter(({ name }) => markOf(column, name) === mark)
      .map(({ name }) => {
        const verdict = column.verdicts.get(name)
        const reason = column.peer.cannot[name]
        const why = mark === 'wrong' || reason === undefined ? '' : `${reason}; `
        return `${column.peer.name}: ${name}: ${why}${verdict?.wrong.join('; ')} (${verdict?.seen})`
      }),
  )
}

export function table(cases: readonly Case[], columns: readonly Column[]): string {
  const width = Math.max(...cases.map(({ name }) => name.length))
  const heads = columns.map(({ peer }) => peer.name)
  const row = (first: string, cells: readonly string[]): string =>
    [first.padEnd(width), ...cells.map((cell, index) => cell.padEnd(heads[index]?.length ?? 0))].join('  ').trimEnd()
  const total = columns.map(column =>
    column.version === undefined ? '-' : `${count(column, cases, 'right')}/${cases.length}`,
  )
  return [
    row('case', heads),
    ...cases.map(({ name }) =>
      row(
        name,
        columns.map(column => SHORT[markOf(column, name)]),
      ),
    ),
    row('right', total),
    '',
    ...lines(cases, columns, 'wrong'),
    ...lines(cases, columns, 'not configurable').map(line => `not configurable: ${line}`),
  ].join('\n')
}

function cell(column: Column, name: string): string {
  const verdict = column.verdicts.get(name)
  const mark = markOf(column, name)
  if (verdict === undefined) return '-'
  if (mark === 'right') return verdict.seen === '' ? 'right' : verdict.seen
  const reason = column.peer.cannot[name]
  const wrong = `${verdict.wrong.join('; ')}${verdict.seen === verdict.wrong.join('; ') ? '' : ` (${verdict.seen})`}`
  return mark === 'wrong' ? `**wrong:** ${wrong}` : `*not configurable* (${reason}): ${wrong}`
}

const tidy = (text: string): string => text.replaceAll('|', '\\|')

export function markdown(cases: readonly Case[], columns: readonly Column[]): string {
  const measured = columns.filter(({ version }) => version !== undefined)
  const skipped = columns.filter(({ version }) => version === undefined)
  const [own, ...peers] = measured
  const better = cases.filter(({ name }) => own !== undefined && markOf(own, name) !== 'right')
  const header = ['case', ...measured.map(({ peer }) => peer.name)]
  const t = TIMEOUTS
  return `# hopgate and its peers, fault by fault

<!-- Made by \`npm run compare\` (compare/run.ts). Changes here are lost. -->

${cases.length} faults of upstreams and of clients, on real sockets, each against every proxy with the same timeouts: connect ${t.connect} ms,
request_write, response_headers and body_idle ${t.responseHeaders} ms, the \`request\` deadline ${t.request} ms, and on the client hop headers, body_idle and
write_idle ${t.clientHeaders} ms each. Each proxy is configured as well as we know how; if you know better, change its file and run
\`npm run compare\`.

Judged from outside only: the status that the client saw, whether a truncation could be seen, when it came, and when the upstream's
socket was closed. "On time" is up to ${LATE_MS} ms late, for client, proxy and upstreams share one machine (${cpus().length} cores, Linux ${release().split('-')[0]}, Node
${process.versions.node}). 502, 503 and 504 all count as right. What went wrong
was tried a second time, alone, and the second time counts.

Read it with two things in mind. The cases are those that hopgate was made for, and a case that hopgate failed was mended in hopgate;
nobody has mended the others. And the versions are those that Debian 12 and the npm registry had: later ones may do better.

| proxy | version | configuration | right | wrong | not configurable |
|---|---|---|---|---|---|
${measured
  .map(column => {
    const { peer, version } = column
    const counts = (['right', 'wrong', 'not configurable'] as const).map(mark => count(column, cases, mark))
    return `| ${peer.name} | ${version} | [${peer.source}](../compare/${peer.source}) | ${counts.join(' | ')} |`
  })
  .join('\n')}
${skipped.map(({ peer }) => `\nNot measured, because it was not installed: ${peer.name}.\n`).join('')}
## What each gets wrong

${peers
  .map(column => {
    const wrong = cases.filter(({ name }) => markOf(column, name) === 'wrong').map(({ name }) => `\`${name}\``)
    const cannot = cases
      .filter(({ name }) => markOf(column, name) === 'not configurable')
      .map(({ name }) => `\`${name}\``)
    const parts = [wrong.length > 0 ? `wrong ${wrong.join(', ')}` : 'nothing wrong']
    if (cannot.length > 0) parts.push(`no setting for ${cannot.join(', ')}`)
    return `- **${column.peer.name}**: ${parts.join('; ')}.`
  })
  .join('\n')}

## Where a peer does better

${
  better.length === 0
    ? 'In none of these cases, in this run. Outside of them:'
    : `${better
        .map(({ name }) => {
          const who = peers.filter(column => markOf(column, name) === 'right').map(({ peer }) => peer.name)
          return `- \`${name}\`: hopgate: ${own?.verdicts.get(name)?.wrong.join('; ')}. Right: ${who.join(', ') || 'nobody'}.`
        })
        .join('\n')}\n\nOutside of these cases:`
}

- nginx and HAProxy need less CPU for a request, and use all cores by themselves; see [benchmarks.md](benchmarks.md).
- nginx, HAProxy, Caddy and Go terminate TLS and speak HTTP/2; hopgate refuses to be configured so.
- nginx, HAProxy and Caddy take a new configuration without a restart; hopgate drains and starts again.
- HAProxy has health checks, nginx and Caddy passive ones; hopgate has none yet.
- Go and Caddy have had enough after five interim responses, hopgate waits for its timeout.

## Case by case

What is not marked is right; what is said of it is what was seen.

| ${header.join(' | ')} |
|${header.map(() => '---').join('|')}|
${cases
  .map(({ name, what }) =>
    [`| \`${name}\`: ${tidy(what)}`, ...measured.map(column => tidy(cell(column, name)))].join(' | ').concat(' |'),
  )
  .join('\n')}
`
}
