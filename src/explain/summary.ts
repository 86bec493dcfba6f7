/** What failed in a log, by cause, and how long clients waited: `hopgate explain --summary`. */
import type { Facts } from './facts.ts'
import type { Limits } from './limits.ts'
import { Patience, type Peak } from './patience.ts'
import { sentence } from './sentence.ts'
import { spell } from './words.ts'

/** Routes, outcomes, stages and parties are few; a file that was not written by hopgate may have more. */
const MOST_CAUSES = 2000
const MOST_SHOWN = 15
const MOST_ROUTES_SHOWN = 8
const BAR_WIDTH = 40

interface Cause {
  count: number
  /** The first one, as an example. */
  readonly first: Facts
}

export class Summary {
  completed = 0
  failed = 0
  readonly patience = new Patience()
  #first = ''
  #last = ''
  readonly #causes = new Map<string, Cause>()

  add(facts: Facts): void {
    if (facts.time !== '') {
      if (this.#first === '' || facts.time < this.#first) this.#first = facts.time
      if (facts.time > this.#last) this.#last = facts.time
    }
    if (facts.outcome === 'completed') {
      this.completed++
      return
    }
    this.failed++
    this.patience.add(facts)
    const key = JSON.stringify([facts.route, facts.outcome, facts.stage, facts.party])
    const cause = this.#causes.get(key)
    if (cause !== undefined) cause.count++
    else if (this.#causes.size < MOST_CAUSES) this.#causes.set(key, { count: 1, first: facts })
  }

  /** @param limits by route; null: no configuration is at hand */
  render(limits: ReadonlyMap<string, Limits> | null): string {
    const all = this.completed + this.failed
    const share = all === 0 ? '' : ` (${percent(this.failed / all)})`
    const when = this.#first === '' ? '' : `, the failed ones from ${this.#first} to ${this.#last}`
    const blocks = [`${all} exchanges, ${this.failed} failed${share}${when}`, ...this.#causeBlock(limits)]
    const routes = this.patience.routes().toSorted((a, b) => this.patience.count(b) - this.patience.count(a))
    if (routes.length > 0) {
      const shown = routes.slice(0, MOST_ROUTES_SHOWN).map(route => this.#patienceBlock(route, limits?.get(route)))
      const more = routes.length - shown.length
      blocks.push(
        ['how long clients waited before they left', ...shown, ...(more > 0 ? [`  and ${more} more routes`] : [])].join(
          '\n',
        ),
      )
    }
    return `${blocks.join('\n\n')}\n`
  }

  #causeBlock(limits: ReadonlyMap<string, Limits> | null): readonly string[] {
    const causes = [...this.#causes.values()].sort((a, b) => b.count - a.count)
    if (causes.length === 0) return []
    const rows = causes.slice(0, MOST_SHOWN).map(({ count, first }) => {
      const { route, party, outcome, stage } = first
      return [String(count), percent(count / this.failed), route, party, outcome, stage ?? '-']
    })
    const table = align([['', 'share', 'route', 'party', 'outcome', 'stage'], ...rows])
    const lines = causes.slice(0, MOST_SHOWN).flatMap(({ first }, i) => {
      return [table[i + 1] ?? '', `        ${sentence(first, limits?.get(first.route) ?? null)}`]
    })
    const more = causes.length - MOST_SHOWN
    return [[table[0], ...lines, ...(more > 0 ? [`  and ${more} more causes`] : [])].join('\n')]
  }

  #patienceBlock(route: string, limits: Limits | undefined): string {
    const peaks = this.patience.peaks(route)
    const deadline = limits?.timeouts.get('request')
    const ours =
      deadline === undefined ? '' : deadline === Infinity ? '; no deadline' : `; our deadline ${spell(deadline)}`
    const found =
      peaks.length === 0
        ? ['    no peak: no timeout of the callers’ shows']
        : peaks.map(peak => `    ${peakSentence(peak)}`)
    const ages = this.patience.ages(route)
    const sum = this.patience.count(route)
    return [`  ${route}: ${sum} left${ours}`, ...found, ...histogram(ages)].join('\n')
  }
}

/** `214 requests left at 1.0 s: the caller's timeout is probably 1 s.`  @param where ` in this file` */
export function peakSentence({ count, probablyMs }: Peak, where = ''): string {
  const at = probablyMs >= 1000 ? `${(probablyMs / 1000).toFixed(1)} s` : spell(probablyMs)
  return `${count} requests left at ${at}${where}: the caller's timeout is probably ${spell(probablyMs)}.`
}

/** Ten rows to a factor of ten would be too many to read: 1, 1.5, 2, 3, 5, 7 and again. */
const STEPS = [1, 1.5, 2, 3, 5, 7]

function histogram(ages: readonly (readonly [ms: number, count: number])[]): readonly string[] {
  const bounds = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000].flatMap(scale => STEPS.map(step => step * scale))
  const counts = new Array<number>(bounds.length + 1).fill(0)
  for (const [ms, count] of ages) {
    // Bins are 1 % wide: an age of exactly 1 s is in one that begins a little below.
    const row = bounds.findIndex(bound => ms * 1.01 < bound)
    const index = row === -1 ? bounds.length : row
    counts[index] = (counts[index] ?? 0) + count
  }
  const first = counts.findIndex(count => count > 0)
  const last = counts.findLastIndex(count => count > 0)
  const most = Math.max(...counts)
  const rows: string[][] = []
  for (let index = first; index <= last; index++) {
    const count = counts[index] ?? 0
    const from = index === 0 ? '0' : spell(bounds[index - 1] ?? 0)
    const bar = '#'.repeat(count === 0 ? 0 : Math.max(1, Math.round((count / most) * BAR_WIDTH)))
    rows.push([`from ${from}`, String(count), bar])
  }
  return align(rows).map(row => `    ${row}`)
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

/** The first column and numbers to the right, the rest to the left. */
function align(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)))
  return rows.map(row => {
    const cells = row.map((cell, i) =>
      /^[\d.]+( %)?$/.test(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
    )
    return `  ${cells.join('  ')}`.trimEnd()
  })
}
