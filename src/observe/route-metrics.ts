/** The numbers of one route: bound to it at start, added to as each of its exchanges ends, read at a scrape. */
import { METHODS } from 'node:http'
import type { Outcome, Party, Stage, TimeoutName } from '../outcome.ts'
import { OUTCOMES, STAGES, TIMEOUTS } from '../outcome.ts'
import {
  CANCEL_BUCKETS,
  type CountCell,
  DURATION_BUCKETS,
  HistogramCell,
  histogramLength,
  type Labels,
  observe,
} from './cells.ts'
import type { ExchangeRecord } from './record.ts'

/** A series of `hopgate_requests_total`, with what it takes to see that the next exchange belongs to it as well. */
interface RequestCell extends CountCell {
  readonly method: string
  readonly status: number
  readonly outcome: Outcome
  readonly duration: HistogramCell
}

/** The route of exchanges that belong to none: no route matched, or the request could not be read. */
export const NO_ROUTE = '_none'

/** The route at which the gateway's own probe ends. */
export const SELFPROBE_ROUTE = '_selfprobe'

const METHOD_INDEX: ReadonlyMap<string, number> = new Map(METHODS.map((method, index) => [method, index + 1]))
const OUTCOME_INDEX: ReadonlyMap<string, number> = new Map(Object.keys(OUTCOMES).map((word, index) => [word, index]))
const STAGE_INDEX: ReadonlyMap<Stage | undefined, number> = new Map(STAGES.map((word, index) => [word, index + 1]))
const PARTIES: readonly Party[] = ['none', 'client', 'gateway', 'upstream']
const TIMEOUT_INDEX: ReadonlyMap<TimeoutName, number> = new Map(TIMEOUTS.map((word, index) => [word, index]))

/** What an exchange of a `listen.min_body_rate` violation overran is not a duration. */
const WITHOUT_DURATION: TimeoutName = 'listen.min_body_rate'

/**
 * What every exchange adds to lies together, in one array for each route: with hundreds of routes, every line of memory
 * that an exchange touches is one that it waits for (W8 in docs/benchmarks.md). A histogram takes whole lines, and of these an
 * exchange mostly touches one: its sum, its count and its first buckets.
 */
const LINE = 8
const BYTES_IN = 0
const BYTES_OUT = 1
const ABORTED_WRITES = 2
const ABORTED_WRITE_BYTES = 3
const HISTOGRAM = Math.ceil(histogramLength(DURATION_BUCKETS) / LINE) * LINE
const COMPLETED = LINE
const QUEUE = COMPLETED + HISTOGRAM
const CONNECT = QUEUE + HISTOGRAM
const REQUEST_WRITE = CONNECT + HISTOGRAM
const RESPONSE_HEADERS = REQUEST_WRITE + HISTOGRAM
const RESPONSE_BODY = RESPONSE_HEADERS + HISTOGRAM
const NUMBERS = RESPONSE_BODY + HISTOGRAM

export class RouteMetrics {
  // What every exchange touches is first.
  readonly #numbers: Float64Array
  /** Traffic repeats itself: the series of the previous exchange is nearly always that of the next one too. */
  #latest: RequestCell | undefined = undefined
  readonly name: string
  readonly requests = new Map<number, RequestCell>()
  readonly failures = new Map<number, CountCell>()
  readonly durations = new Map<Outcome, HistogramCell>()
  readonly queue: HistogramCell
  readonly connect: HistogramCell
  readonly requestWrite: HistogramCell
  readonly responseHeaders: HistogramCell
  readonly responseBody: HistogramCell
  readonly clientAbortAge: HistogramCell
  readonly upstreamCancel: HistogramCell
  readonly #timeoutsFired = new Float64Array(TIMEOUTS.length)
  readonly #worstOverrunMs = new Float64Array(TIMEOUTS.length)
  readonly #lastFired = new Float64Array(TIMEOUTS.length)
  readonly #overruns: ReadonlyMap<TimeoutName, HistogramCell>
  /** @param overruns one series per timeout, shared by all routes of the gateway */
  constructor(name: string, overruns: ReadonlyMap<TimeoutName, HistogramCell>) {
    this.#numbers = new Float64Array(NUMBERS)
    const stage = (word: string, at: number) =>
      new HistogramCell(DURATION_BUCKETS, { route: name, stage: word }, this.#numbers, at)
    this.name = name
    this.#overruns = overruns
    this.queue = stage('queue', QUEUE)
    this.connect = stage('connect', CONNECT)
    this.requestWrite = stage('request_write', REQUEST_WRITE)
    this.responseHeaders = stage('response_headers', RESPONSE_HEADERS)
    this.responseBody = stage('response_body', RESPONSE_BODY)
    this.clientAbortAge = new HistogramCell(DURATION_BUCKETS, { route: name })
    this.upstreamCancel = new HistogramCell(CANCEL_BUCKETS, { route: name })
  }

  /** To be called once per exchange, when it ended. */
  finished(record: ExchangeRecord): void {
    let cell = this.#latest
    if (
      cell === undefined ||
      cell.status !== record.status ||
      cell.outcome !== record.outcome ||
      cell.method !== record.method
    ) {
      cell = this.#requestCell(record)
      this.#latest = cell
    }
    cell.count += 1
    const times = record.times
    // Of those that end well without a look at the cell: it is one line of memory more.
    if (record.outcome === 'completed') observe(this.#numbers, COMPLETED, DURATION_BUCKETS, times.total / 1000)
    else cell.duration.observe(times.total / 1000)
    this.#stage(QUEUE, times.queue)
    this.#stage(CONNECT, times.connect)
    this.#stage(REQUEST_WRITE, times.requestWrite)
    this.#stage(RESPONSE_HEADERS, times.responseHeaders)
    this.#stage(RESPONSE_BODY, times.responseBody)
    this.#add(BYTES_IN, record.rxBytes)
    this.#add(BYTES_OUT, record.txBytes)
    this.#add(ABORTED_WRITES, record.abortedWrites)
    this.#add(ABORTED_WRITE_BYTES, record.abortedWriteBytes)
    if (record.outcome !== 'completed' && record.outcome !== 'tunnel_closed') this.#failed(record)
  }

  #stage(at: number, ms: number): void {
    if (ms >= 0) observe(this.#numbers, at, DURATION_BUCKETS, ms / 1000)
  }

  #add(at: number, count: number): void {
    if (count !== 0) this.#numbers[at] = (this.#numbers[at] ?? 0) + count
  }

  get bytesIn(): number {
    return this.#numbers[BYTES_IN] ?? 0
  }

  get bytesOut(): number {
    return this.#numbers[BYTES_OUT] ?? 0
  }

  get abortedWrites(): number {
    return this.#numbers[ABORTED_WRITES] ?? 0
  }

  get abortedWriteBytes(): number {
    return this.#numbers[ABORTED_WRITE_BYTES] ?? 0
  }

  /** From the moment the cause was known to the moment the upstream's socket was closed. */
  upstreamCancelled(seconds: number): void {
    this.upstreamCancel.observe(seconds)
  }

  /**
   * `finished` counts the timeouts that end an exchange; this one is for those that end something else
   * (`listen.timeouts.keepalive` closes a connection between two exchanges).
   */
  timeoutFired(timeout: TimeoutName, overrunMs: number): void {
    const index = TIMEOUT_INDEX.get(timeout)
    if (index === undefined) return
    this.#timeoutsFired[index] = this.timeoutCount(timeout) + 1
    this.#lastFired[index] = Date.now()
    if (timeout === WITHOUT_DURATION) return
    if (overrunMs > this.worstOverrunMs(timeout)) this.#worstOverrunMs[index] = overrunMs
    this.#overruns.get(timeout)?.observe(overrunMs / 1000)
  }

  /** How often this timeout has fired on this route. */
  timeoutCount(timeout: TimeoutName): number {
    return this.#timeoutsFired[TIMEOUT_INDEX.get(timeout) ?? -1] ?? 0
  }

  /** When it last did, ms since the epoch; 0: never. */
  lastFiredAt(timeout: TimeoutName): number {
    return this.#lastFired[TIMEOUT_INDEX.get(timeout) ?? -1] ?? 0
  }

  /** The latest that this timeout has ever fired on this route, in ms after its configured value; 0: never late. */
  worstOverrunMs(timeout: TimeoutName): number {
    return this.#worstOverrunMs[TIMEOUT_INDEX.get(timeout) ?? -1] ?? 0
  }

  #failed(record: ExchangeRecord): void {
    const { outcome, stage, party, upstreamName } = record
    // A route has one upstream, so whether it was chosen yet tells the label.
    const key =
      (((OUTCOME_INDEX.get(outcome) ?? 0) * 16 + (STAGE_INDEX.get(stage) ?? 0)) * 4 + PARTIES.indexOf(party)) * 2 +
      (upstreamName === '' ? 0 : 1)
    let cell = this.failures.get(key)
    if (cell === undefined) {
      cell = { labels: { route: this.name, upstream: upstreamName, outcome, stage: stage ?? '', party }, count: 0 }
      this.failures.set(key, cell)
    }
    cell.count += 1
    if (record.clientAbortAge >= 0) this.clientAbortAge.observe(record.clientAbortAge / 1000)
    if (record.timeout !== undefined) this.timeoutFired(record.timeout, record.timeoutOverrun)
  }

  #requestCell(record: ExchangeRecord): RequestCell {
    const { method, status, outcome } = record
    // A client may send any word as its method: those that nobody knows share one series.
    const methodIndex = METHOD_INDEX.get(method) ?? 0
    const key = ((OUTCOME_INDEX.get(outcome) ?? 0) * 1000 + status) * 64 + methodIndex
    let cell = this.requests.get(key)
    if (cell === undefined) {
      const methodLabel = methodIndex === 0 ? '_other' : method
      const labels: Labels = { route: this.name, method: methodLabel, code: String(status), outcome }
      cell = { labels, count: 0, method: methodLabel, status, outcome, duration: this.duration(outcome) }
      this.requests.set(key, cell)
    }
    return cell
  }

  /** The series of `hopgate_request_duration_seconds` of an outcome, made when first asked for. */
  duration(outcome: Outcome): HistogramCell {
    let cell = this.durations.get(outcome)
    if (cell === undefined) {
      const labels = { route: this.name, outcome }
      // Nearly all end well: theirs is with the rest.
      cell =
        outcome === 'completed'
          ? new HistogramCell(DURATION_BUCKETS, labels, this.#numbers, COMPLETED)
          : new HistogramCell(DURATION_BUCKETS, labels)
      this.durations.set(outcome, cell)
    }
    return cell
  }
}
