/** A log -> sentences: what `hopgate explain` does with its lines. */
import type { Readable } from 'node:stream'
import { type Facts, factsOfLine } from './facts.ts'
import type { Limits } from './limits.ts'
import { eachLine } from './lines.ts'
import type { Patience } from './patience.ts'
import { sentence } from './sentence.ts'
import { peakSentence, Summary } from './summary.ts'

export interface Wanted {
  /** Only the exchange of this id, completed ones too; null: every one that failed. */
  readonly requestId: string | null
  readonly summary: boolean
  /** By route; null: no configuration is at hand. */
  readonly limits: ReadonlyMap<string, Limits> | null
}

export interface Told {
  /** Access lines, and those of them that were told. */
  lines: number
  told: number
  /** Lines that are no access lines: other events, other programs, cut ones. */
  others: number
}

/** Quotes inside JSON strings are escaped, so this can stand for nothing but the field itself. */
const COMPLETED = '"outcome":"completed"'
const ABORTED = '"outcome":"client_abort"'

/** The first of two readings, where a log can be read twice: so that each client that left can be told how many did. */
export async function patienceOf(log: Readable, patience: Patience): Promise<void> {
  await eachLine(log, line => {
    if (!line.includes(ABORTED)) return undefined
    const facts = factsOfLine(line)
    if (facts !== null) patience.add(facts)
    return undefined
  })
}

export class Explainer {
  readonly told: Told = { lines: 0, told: 0, others: 0 }
  readonly #wanted: Wanted
  readonly #write: (text: string) => void
  readonly #summary = new Summary()
  /** What the whole log shows; null: it is known only at the end. */
  readonly #patience: Patience | null
  readonly #where: string

  /** @param where ` in this file`, for what is said of the whole log */
  constructor(wanted: Wanted, patience: Patience | null, where: string, write: (text: string) => void) {
    this.#wanted = wanted
    this.#patience = patience
    this.#where = where
    this.#write = write
  }

  async read(log: Readable): Promise<void> {
    await eachLine(log, line => {
      this.#line(line)
      return undefined
    })
  }

  #line(line: string): void {
    const { requestId, summary } = this.#wanted
    const { told } = this
    if (line.includes(COMPLETED) && (requestId === null || !line.includes(requestId))) {
      told.lines++
      this.#summary.completed++
      return
    }
    const facts = factsOfLine(line)
    if (facts === null) {
      told.others++
      return
    }
    told.lines++
    if (requestId === null) this.#summary.add(facts)
    else if (facts.requestId !== requestId) return
    if (summary || (requestId === null && facts.outcome === 'completed')) return
    told.told++
    this.#write(this.#tell(facts))
  }

  /** Two lines: what it was, and what happened. */
  #tell(facts: Facts): string {
    const { time, requestId, method, host, path, status, outcome } = facts
    const peak = this.#patience?.peakOf(facts)
    const shared = peak === undefined ? '' : ` ${peakSentence(peak, this.#where)}`
    const request = [method, `${host}${path}`].filter(word => word !== '').join(' ') || 'a connection'
    const head = [time, requestId, request].filter(word => word !== '').join('  ')
    const limits = this.#wanted.limits?.get(facts.route) ?? null
    return `${head}  ${status} ${outcome}\n    ${sentence(facts, limits)}${shared}\n`
  }

  /** What is said when all is read. */
  end(): string {
    const { summary, requestId, limits } = this.#wanted
    const { lines, others, told } = this.told
    const passed = others === 0 ? '' : ` ${others} line${others === 1 ? ' was' : 's were'} no access line.`
    if (summary) return `${this.#summary.render(limits)}${passed === '' ? '' : `\n${passed.trim()}\n`}`
    if (requestId !== null) return ''
    const peaks = this.#patience === null ? this.#peaks() : ''
    const sum = `${lines} exchange${lines === 1 ? '' : 's'}, ${told} failed.${passed}`
    return `${peaks}${told === 0 && peaks === '' ? '' : '\n'}${sum}\n`
  }

  #peaks(): string {
    const { patience } = this.#summary
    const lines = patience
      .routes()
      .flatMap(route => patience.peaks(route).map(peak => `${route}: ${peakSentence(peak, this.#where)}\n`))
    return lines.length === 0 ? '' : `\n${lines.join('')}`
  }
}
