/**
 * The live page: its files, the history it draws, and the stream that keeps it up to date. What is kept while nobody
 * looks is one sample every 5 s, of fixed size, and the latest failures; the rest is done only while a page is open.
 */
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { limitsOf } from '../explain/limits.ts'
import type { ExchangeRecord } from '../observe/record.ts'
import { type Asset, pageAssets } from './assets.ts'
import { Failures } from './failures.ts'
import { History, SAMPLE_MS } from './history.ts'
import { cellsOf, hello, type LiveParts, standing } from './snapshot.ts'
import { eventOf, Stream } from './stream.ts'

/** How often an open page is told how it stands. */
const TOLD_MS = 1000
/** Routes whose history goes out in one piece: 10 of them take 0.7 ms of the event loop (measured). */
const ROUTES_IN_A_PIECE = 10

export class Live {
  readonly assets: readonly Asset[] = pageAssets()
  readonly history: History
  readonly #parts: LiveParts
  readonly #failures: Failures
  readonly #stream = new Stream()
  readonly #boot = randomBytes(6).toString('hex')
  readonly #startedMs = Date.now()
  #sampler: NodeJS.Timeout | undefined
  #teller: NodeJS.Timeout | undefined
  #told = 0
  #loop = performance.eventLoopUtilization()

  constructor(parts: LiveParts) {
    this.#parts = parts
    this.#failures = new Failures(limitsOf(parts.config))
    this.history = new History(cellsOf(parts), parts.upstreams.length, () =>
      parts.upstreams.map(({ queued, endpoints }) => ({
        queued,
        active: endpoints.reduce((sum, endpoint) => sum + endpoint.count('active'), 0),
      })),
    )
  }

  start(): void {
    this.#sampler = setInterval(() => this.#sample(), SAMPLE_MS).unref()
  }

  stop(): void {
    clearInterval(this.#sampler)
    clearInterval(this.#teller)
    this.#stream.close()
  }

  /** To be called with each exchange that was not `completed`. */
  failed(record: ExchangeRecord): void {
    this.#failures.add(record, Date.now())
  }

  /** True where one more page cannot be served. */
  get full(): boolean {
    return this.#stream.full
  }

  /** A page comes: it gets everything, then what changes, until it leaves. */
  open(res: ServerResponse): void {
    if (this.#teller === undefined) {
      this.#loop = performance.eventLoopUtilization()
      this.#told = this.#failures.version
      this.#teller = setInterval(() => this.#tell(), TOLD_MS).unref()
    }
    this.#stream.open(res, this.#everything(), () => {
      if (this.#stream.pages > 0) return
      clearInterval(this.#teller)
      this.#teller = undefined
    })
  }

  *#everything(): Generator<string> {
    const { history } = this
    yield eventOf('hello', hello(this.#parts, this.#boot, this.#startedMs)) + this.#now()
    yield eventOf('failures', this.#failures.since(0))
    const routes = cellsOf(this.#parts).length
    for (let from = 0; from < routes; from += ROUTES_IN_A_PIECE) {
      const rows = Array.from({ length: Math.min(ROUTES_IN_A_PIECE, routes - from) }, (_, n) => from + n)
      yield eventOf('history', {
        taken: history.taken,
        times: history.times(),
        routes: rows.map(index => ({ index, ...history.route(index), minute: rounded(history, index) })),
      })
    }
    yield eventOf('history', {
      taken: history.taken,
      times: history.times(),
      routes: [],
      all: { ...history.all(), minute: rounded(history) },
      upstreams: this.#parts.upstreams.map((_, index) => history.upstream(index)),
    })
  }

  #sample(): void {
    const { history } = this
    history.sample(Date.now())
    if (this.#stream.pages === 0) return
    const cells = cellsOf(this.#parts)
    this.#stream.send(
      eventOf('sample', {
        taken: history.taken,
        time_ms: history.times().at(-1),
        routes: cells.map((_, index) => {
          const { bands, p50, p99 } = history.latest(index)
          return { bands, p50, p99, minute: rounded(history, index) }
        }),
        all: { ...history.latestOfAll(), minute: rounded(history) },
        upstreams: this.#parts.upstreams.map((_, index) => history.latestUpstream(index)),
      }),
    )
    // The kernel is asked again only where nobody has asked for 5 s; it is shown when it has answered.
    void this.#parts.watch.refresh()
  }

  #now(): string {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#loop)
    return eventOf('now', standing(this.#parts, utilization))
  }

  #tell(): void {
    const failures = this.#failures.since(this.#told)
    this.#told = this.#failures.version
    this.#stream.send(this.#now() + (failures.length === 0 ? '' : eventOf('failures', failures)))
    this.#loop = performance.eventLoopUtilization()
  }
}

/** Seconds, to the microsecond; null: nothing ended. */
function rounded(history: History, index?: number) {
  const { p50, p90, p99 } = history.minute(index)
  return [p50, p90, p99].map(value => (Number.isNaN(value) ? null : Math.round(value * 1e6) / 1e6))
}
