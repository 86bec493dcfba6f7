/** What a run has shown, for people. */
import { formatDuration } from '../config/duration.ts'
import type { Result } from './prove-one.ts'
import type { Proof } from './run.ts'

const HEAD = ['route', 'timeout', 'configured', 'fired at', 'overrun', 'called', 'verdict'] as const

/** Several lines, each ended by a newline. @param file as the user named it */
export function renderProof(proof: Proof, file: string): string {
  const { results, unproven, scale, wrong } = proof
  const timeouts = results.filter(({ one }) => one.kind === 'timeout')
  const parts = [
    `hopgate prove ${file} (config ${proof.hash})`,
    ...(scale === 1 ? [] : [`SCALED: all durations times ${scale}. This is not proof of the values as configured.`]),
  ]
  if (timeouts.length > 0 || unproven.length > 0) parts.push(renderTimeouts(proof, timeouts))
  const aborts = renderList(results.filter(({ one }) => one.kind === 'abort'))
  if (aborts !== '') parts.push(`clients that leave: cause to access line\n${aborts}`)
  const failures = renderList(results.filter(({ one }) => one.kind === 'failure'))
  if (failures !== '') parts.push(`failures: called and answered as promised\n${failures}`)
  const notes = renderNotes(results)
  if (notes !== '') parts.push(`notes\n${notes}`)
  const misses = results.filter(({ verdict }) => verdict === 'miss')
  parts.push(...misses.map(renderMiss), ...wrong.map(sentence => `MISS  ${sentence}`))
  parts.push(renderSum(proof))
  return `${parts.join('\n\n')}\n`
}

function renderTimeouts(proof: Proof, timeouts: readonly Result[]): string {
  const rows: (readonly string[])[] = [HEAD]
  const routes = [...new Set([...timeouts.map(({ one }) => one.route), ...proof.unproven.map(({ route }) => route)])]
  for (const route of routes) {
    const own = timeouts.filter(({ one }) => one.route === route)
    for (const { one, configuredMs, firedMs, overrunMs, called, verdict } of own) {
      const mark = one.covered === undefined ? '' : ` (${one.covered})`
      const configured = configuredMs === undefined ? '' : formatDuration(configuredMs)
      const overrun = overrunMs === undefined ? '-' : formatMs(overrunMs, true)
      const fired = firedMs === undefined ? '-' : formatMs(firedMs)
      rows.push([route, one.word, configured, fired, overrun, called + mark, verdictWord(verdict)])
    }
    for (const { word, why } of proof.unproven.filter(each => each.route === route)) {
      rows.push([route, word, why === 'off' ? 'off' : '', '-', '-', why === 'off' ? 'nothing: it is off' : why, '-'])
    }
  }
  return table(rows)
}

/** One line for each route: what was proven in a few words, and what was not in full elsewhere. */
function renderList(results: readonly Result[]): string {
  const rows = [...grouped(results)].map(([route, own]) => {
    const good = own.filter(({ verdict }) => verdict !== 'miss').length
    const words = own.map(({ one, firedMs, verdict }) => {
      const what = one.variant === undefined ? one.word : `${one.word} ${one.variant}`
      if (verdict === 'miss') return `${what} MISS`
      return one.kind === 'abort' && firedMs !== undefined ? `${what} ${formatMs(firedMs)}` : what
    })
    return ['', route, `${good}/${own.length}`, words.join(', ')]
  })
  return rows.length === 0 ? '' : table(rows)
}

function grouped(results: readonly Result[]): Map<string, Result[]> {
  const byRoute = new Map<string, Result[]>()
  for (const result of results) byRoute.set(result.one.route, [...(byRoute.get(result.one.route) ?? []), result])
  return byRoute
}

/** Each note once, with whom it concerns. */
function renderNotes(results: readonly Result[]): string {
  const concerned = new Map<string, Set<string>>()
  for (const { one, name, verdict, wrong } of results) {
    const all = [...one.notes, ...(verdict === 'second try' ? [`second try; the first: ${wrong.join('; ')}`] : [])]
    for (const note of all) {
      const whom = verdict === 'second try' && !one.notes.includes(note) ? name : `${one.word}`
      concerned.set(note, (concerned.get(note) ?? new Set()).add(whom))
    }
  }
  return [...concerned].map(([note, whom]) => `  ${[...whom].join(', ')}: ${note}`).join('\n')
}

function renderMiss({ one, name, expected, called, wrong }: Result): string {
  return [
    `MISS  ${name}`,
    `  injected  ${injected(one)}`,
    `  expected  ${expected}`,
    `  seen      ${called}`,
    ...wrong.map(sentence => `            ${sentence}`),
    `  look at   ${one.key} (from ${one.origin})`,
  ].join('\n')
}

export function injected({ upstream, plan, crowd }: Result['one']): string {
  const parts = [`upstream ${JSON.stringify(upstream)}`, `client ${JSON.stringify(plan)}`]
  if (crowd !== undefined) parts.push(`with all ${crowd === 'in_flight' ? 'of limits.in_flight' : crowd} taken`)
  return parts.join(', ')
}

function renderSum({ results, unproven, descriptors, tookMs, ok, wrong }: Proof): string {
  const count = (verdict: Result['verdict']): number => results.filter(each => each.verdict === verdict).length
  const again = count('second try')
  const words = [
    `${count('proven') + again} of ${results.length} proven`,
    ...(again === 0 ? [] : [`${again} at the second try`]),
    `${count('miss') + wrong.length} missed`,
    ...(unproven.length === 0 ? [] : [`${unproven.length} off or impossible`]),
    `descriptors ${descriptors.before} before, ${descriptors.after} after`,
    `${(tookMs / 1000).toFixed(1)} s`,
  ]
  return `${ok ? 'PROVEN' : 'NOT PROVEN'}: ${words.join(', ')}`
}

function verdictWord(verdict: Result['verdict']): string {
  return verdict === 'miss' ? 'MISS' : verdict
}

/** `12 ms`, `1.502 s`, `+3 ms` */
function formatMs(ms: number, signed = false): string {
  const sign = signed && ms >= 0 ? '+' : ''
  return Math.abs(ms) < 1000 ? `${sign}${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${sign}${(ms / 1000).toFixed(3)} s`
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)))
  return rows
    .map(row =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
