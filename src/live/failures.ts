/** The latest failures, for those who look: bounded, and cheap while thousands fail. */
import { type Facts, factsOfRecord } from '../explain/facts.ts'
import type { Limits } from '../explain/limits.ts'
import { sentence } from '../explain/sentence.ts'
import { isoTime } from '../observe/access-line.ts'
import type { ExchangeRecord } from '../observe/record.ts'
import { BANDS, type Band, bandOf } from './bands.ts'

/** Failures that are kept. */
const KEPT = 100
/** Of failures that are alike, route, outcome and stage, the first in so many ms is kept; the others are counted. */
const ALIKE_MS = 1000

interface Entry {
  readonly id: number
  /** Those of one kind are alike. */
  readonly kind: string
  readonly facts: Facts
  /** Others like it that ended soon after. */
  more: number
  /** Grows with whatever changes in the list. */
  version: number
  readonly untilMs: number
}

/** As the page shows it. */
export interface Told {
  readonly id: number
  readonly time: string
  readonly request_id: string
  readonly route: string
  readonly status: number
  readonly outcome: string
  readonly band: Band
  readonly request: string
  readonly text: string
  readonly more: number
}

export class Failures {
  readonly #limits: ReadonlyMap<string, Limits>
  readonly #entries: Entry[] = []
  /** The latest of each kind, of those that are kept. */
  readonly #latest = new Map<string, Entry>()
  #version = 0
  #ids = 0

  constructor(limits: ReadonlyMap<string, Limits>) {
    this.#limits = limits
  }

  get version(): number {
    return this.#version
  }

  /** Called with each exchange that failed. @param timeMs since the epoch */
  add(record: ExchangeRecord, timeMs: number): void {
    const kind = `${record.routeName}\n${record.outcome}\n${record.stage}`
    const like = this.#latest.get(kind)
    this.#version++
    if (like !== undefined && timeMs < like.untilMs) {
      like.more++
      like.version = this.#version
      return
    }
    const entry: Entry = {
      id: this.#ids++,
      kind,
      facts: factsOfRecord(record, isoTime(timeMs)),
      more: 0,
      version: this.#version,
      untilMs: timeMs + ALIKE_MS,
    }
    this.#latest.set(kind, entry)
    this.#entries.push(entry)
    if (this.#entries.length <= KEPT) return
    const oldest = this.#entries.shift()
    if (oldest !== undefined && this.#latest.get(oldest.kind) === oldest) this.#latest.delete(oldest.kind)
  }

  /** What was added or has changed since `version`, oldest first. The sentences are made here, and only for those who ask. */
  since(version: number): Told[] {
    return this.#entries.filter(entry => entry.version > version).map(entry => this.#tell(entry))
  }

  #tell({ id, facts, more }: Entry): Told {
    const { time, requestId, route, status, outcome, method, host, path } = facts
    return {
      id,
      time,
      request_id: requestId,
      route,
      status,
      outcome,
      band: BANDS[bandOf(outcome, status)] ?? 'ok',
      request: [method, `${host}${path}`].filter(word => word !== '').join(' '),
      text: sentence(facts, this.#limits.get(route) ?? null),
      more,
    }
  }
}
