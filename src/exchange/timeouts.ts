/**
 * The timeouts of an exchange, each by its two events. The exchange says what happened; this room knows which clocks
 * that starts and stops, and says when one has run out.
 */
import type { Socket } from 'node:net'
import type { Outcome, TimeoutName } from '../outcome.ts'
import type { Alarm, TimerLedger } from './alarm.ts'
import {
  BODY_IDLE,
  CLIENT_BODY_IDLE,
  CLOCKED,
  type Clocked,
  CONNECT,
  type DeadlineEvents,
  Deadlines,
  QUEUE,
  REQUEST,
  REQUEST_WRITE,
  RESPONSE_HEADERS,
  WRITE_IDLE,
} from './deadlines.ts'
import { FlushWatch } from './flush-watch.ts'
import type { RouteLimits } from './route.ts'
import type { SocketTable } from './socket-table.ts'
import { UploadClock } from './upload-clock.ts'

/** What an exchange is called when one of its timeouts fires; the index is the timeout's place in `CLOCKED`. */
const OUTCOMES: readonly Outcome[] = [
  'client_timeout',
  'client_timeout',
  'client_timeout',
  'queue_timeout',
  'connect_timeout',
  'request_write_timeout',
  'response_headers_timeout',
  'body_idle_timeout',
  'deadline_exceeded',
]

export interface TimeoutEvents {
  /** @param overrunMs how late it fired */
  timedOut(timeout: TimeoutName, outcome: Outcome, overrunMs: number): void
}

export interface NearestTimeout {
  readonly timeout: TimeoutName
  /** Above 1: it should have fired. */
  readonly share: number
  readonly leftMs: number
}

export class Timeouts implements DeadlineEvents {
  readonly #limits: RouteLimits
  readonly #events: TimeoutEvents
  readonly #table: SocketTable
  readonly #deadlines: Deadlines
  #upload: UploadClock | undefined
  #requestWatch: FlushWatch | undefined
  #clientWatch: FlushWatch | undefined

  /** @param clock see `Deadlines` */
  constructor(limits: RouteLimits, clock: Alarm | TimerLedger, table: SocketTable, events: TimeoutEvents) {
    this.#table = table
    this.#limits = limits
    this.#events = events
    this.#deadlines = new Deadlines(clock, this)
  }

  /** A native timer is set for these alone. */
  get ticking(): boolean {
    return this.#deadlines.ticking
  }

  /** Body bytes are wanted from the client. */
  get wantsUpload(): boolean {
    return this.#upload?.wanting === true
  }

  /** How long ago the first of those that run was due, ms; negative: it is not yet; -Infinity: none runs. */
  overdueMs(at: number): number {
    let first = Infinity
    for (let which = 0; which < CLOCKED.length; which++) {
      first = Math.min(first, this.#deadlines.dueAt(which as Clocked))
    }
    return at - first
  }

  /** Of those that run, the one of whose time the largest share has passed; undefined: none runs. */
  nearest(at: number): NearestTimeout | undefined {
    const limits = this.#limits
    let nearest: NearestTimeout | undefined
    for (const [which, limitMs] of [
      [CLIENT_BODY_IDLE, limits.clientBodyIdle],
      [QUEUE, limits.queue],
      [CONNECT, limits.connect],
      [RESPONSE_HEADERS, limits.responseHeaders],
      [BODY_IDLE, limits.bodyIdle],
      [REQUEST, limits.request],
    ] as const) {
      const leftMs = this.#deadlines.dueAt(which) - at
      if (leftMs === Infinity) continue
      const share = 1 - leftMs / limitMs
      if (nearest === undefined || share > nearest.share) nearest = { timeout: CLOCKED[which], share, leftMs }
    }
    return nearest
  }

  /** Ends all of them. */
  stop(): void {
    this.#deadlines.stop()
  }

  // request: last request-body byte received (at once if no body) .. last response byte handed to the client

  requestReceived(at?: number): void {
    this.#upload?.hold()
    const { request, responseHeaders, bodyIdle } = this.#limits
    if (request === Infinity) return
    this.#deadlines.arm(REQUEST, request, at, Math.min(responseHeaders, bodyIdle))
  }

  // queue: a slot is asked for .. it is taken

  queued(at: number): void {
    this.#deadlines.arm(QUEUE, this.#limits.queue, at)
  }

  slotTaken(): void {
    this.#deadlines.disarm(QUEUE)
    this.#deadlines.disarm(RESPONSE_HEADERS)
  }

  // connect: the dial begins .. the connection is usable

  dialling(): void {
    if (!this.#deadlines.running(CONNECT)) this.#deadlines.arm(CONNECT, this.#limits.connect)
  }

  connected(): void {
    this.#deadlines.disarm(CONNECT)
  }

  // request_write: request bytes are pending at the upstream's socket .. flushed; restarts at each byte it takes

  requestPending(socket: Socket | undefined): void {
    const limit = this.#limits.requestWrite
    if (socket === undefined || limit === Infinity) return
    this.#requestWatch ??= new FlushWatch(this.#deadlines, REQUEST_WRITE, limit, this.#table)
    this.#requestWatch.start(socket)
  }

  /** The upstream has taken what waited. */
  requestTaken(): void {
    this.#requestWatch?.stop()
  }

  // response_headers: last request byte written .. final response headers received

  requestSent(at: number): void {
    this.#requestWatch?.stop()
    const limit = this.#limits.responseHeaders
    if (limit !== Infinity) this.#deadlines.arm(RESPONSE_HEADERS, limit, at)
  }

  // body_idle: headers received .. body complete; restarts at each byte, not running while the client makes us wait

  responseByte(at?: number): void {
    this.#deadlines.disarm(RESPONSE_HEADERS)
    const limit = this.#limits.bodyIdle
    if (limit !== Infinity && this.#clientWatch?.watching !== true) this.#deadlines.arm(BODY_IDLE, limit, at)
  }

  responseReceived(): void {
    this.#deadlines.disarm(BODY_IDLE)
    this.#requestWatch?.stop()
  }

  // listen.timeouts.write_idle: response bytes are pending at the client's socket .. flushed; restarts at each it takes

  responsePending(socket: Socket): void {
    this.#deadlines.disarm(BODY_IDLE)
    this.#clientWatch ??= new FlushWatch(this.#deadlines, WRITE_IDLE, this.#limits.clientWriteIdle, this.#table)
    this.#clientWatch.start(socket)
  }

  /** Flushed, or the client is gone. */
  responseFlushed(): void {
    this.#clientWatch?.stop()
  }

  // listen.timeouts.body_idle and listen.min_body_rate: we want body bytes .. the body is complete

  uploadWanted(): void {
    this.#upload ??= new UploadClock(this.#deadlines, this.#limits)
    this.#upload.want()
  }

  uploadReceived(bytes: number): void {
    this.#upload ??= new UploadClock(this.#deadlines, this.#limits)
    this.#upload.received(bytes)
  }

  uploadHeld(): void {
    this.#upload?.hold()
  }

  due(which: Clocked, overrunMs: number): void {
    let late = overrunMs
    if (which === WRITE_IDLE) {
      late = this.#clientWatch?.look() ?? -1
    } else if (which === REQUEST_WRITE) {
      late = this.#requestWatch?.look() ?? -1
    }
    if (late >= 0) this.#events.timedOut(CLOCKED[which], OUTCOMES[which] as Outcome, late)
  }
}
