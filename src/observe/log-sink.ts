/**
 * The log that cannot block: whatever happens at its destination, `write` returns at once, memory stays within
 * `bufferBytes`, and `close` returns within a second. What cannot be kept is counted.
 *
 * Why not sonic-boom, pino's own destination (4.2.1): it knows one class of lines; it waits 100 ms after every EAGAIN,
 * which is 640 KB/s into a pipe whose reader lags a little; it writes in the thread pool (destination.ts says what that
 * does to exit); after an error it goes on in the middle of a line, in whatever was opened since.
 */
import { writeSync, write as writeThreaded } from 'node:fs'
import { closeDestination, type Destination, openDestination } from './destination.ts'
import { type Line, LineBuffer, type LineClass } from './line-buffer.ts'

/** A line waits this long for others to share its write: 100 writes a second are the most an unstalled log costs. */
const BATCH_MS = 10
/** Per turn of the event loop, so that a reader as fast as we are cannot hold it (15 writes of 4000 bytes into a pipe: 17 us). */
const TURN_BYTES = 256 * 1024
/** How soon to look again at a destination that is full: at once for a reader that lags, seldom for one that stopped. */
const STALL_POLL_MIN_MS = 1
const STALL_POLL_MAX_MS = 50
/** How soon to try again one that failed. */
const RETRY_MS = 500
/** After this long without progress a stall counts as down. */
const STALL_DOWN_MS = 1000
const CLOSE_MS = 1000

/** What the metrics show of the log. */
export interface LogCounts {
  readonly written: Readonly<Record<LineClass, number>>
  readonly dropped: Readonly<Record<LineClass, number>>
  /** False while the last write failed, or nothing could be written for over a second while lines wait. */
  readonly up: boolean
  readonly bufferedBytes: number
}

export interface LogSinkOptions {
  /** `stdout`, `stderr`, or a path. */
  readonly destination: string
  readonly bufferBytes: number
}

/** EAGAIN: full; EINTR: a signal came first. Both pass by themselves. */
const PASSING = new Set(['EAGAIN', 'EINTR'])
/** No room on the disk, in the quota, under RLIMIT_FSIZE. The file stays the right one, and the line begun can be ended. */
const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

type State = 'open' | 'closing' | 'closed'

export class LogSink implements LogCounts {
  readonly #name: string
  readonly #buffer: LineBuffer
  #destination: Destination | undefined
  #state: State = 'open'
  /** A threaded write is under way. */
  #writing = false
  #reopenWanted = false
  /** Since when a write waits, ms of performance.now(); -1: none does. */
  #stalledSince = -1
  #pollMs = STALL_POLL_MIN_MS
  #timer: NodeJS.Timeout | undefined
  #failure: Error | undefined
  #finish: (() => void) | undefined
  #closed: Promise<number> | undefined

  /** Never throws: a destination that cannot be opened is down, `lastError` says why, and it is tried again. */
  constructor(options: LogSinkOptions) {
    this.#name = options.destination
    this.#buffer = new LineBuffer(options.bufferBytes)
    if (!this.#open()) this.#schedule(RETRY_MS)
  }

  get written(): Readonly<Record<LineClass, number>> {
    return this.#buffer.written
  }

  get dropped(): Readonly<Record<LineClass, number>> {
    return this.#buffer.dropped
  }

  get bufferedBytes(): number {
    return this.#buffer.bytes
  }

  get up(): boolean {
    if (this.#failure !== undefined || this.#state === 'closed') return false
    return this.#stalledSince < 0 || performance.now() - this.#stalledSince <= STALL_DOWN_MS
  }

  /** Why the destination is down; undefined while it is not, or merely stalls. */
  get lastError(): Error | undefined {
    return this.#failure
  }

  /** An event's line, with its newline: pino's destination interface. */
  write(line: string): void {
    if (this.#state === 'closed') this.#buffer.dropped.event += 1
    else if (this.#buffer.push(line, 'event')) this.#more()
  }

  /** An access line, with its newline. */
  writeAccess(line: Line): void {
    if (this.#state === 'closed') this.#buffer.dropped.access += 1
    else if (this.#buffer.pushLine(line, 'access')) this.#more()
  }

  /** Opens the path anew: to be called on SIGHUP, after the file was moved away. Inherited destinations stay. */
  reopen(): void {
    if (this.#state !== 'open') return
    this.#reopenWanted = true
    if (!this.#writing) this.#pump()
  }

  /**
   * Writes what waits, for at most a second and only while the destination does not fail, and gives up the rest.
   * Resolves with the number of lines given up; lines that come later are dropped.
   */
  close(): Promise<number> {
    this.#closed ??= new Promise(resolve => {
      this.#state = 'closing'
      const deadline = setTimeout(() => this.#finish?.(), CLOSE_MS)
      this.#finish = () => {
        clearTimeout(deadline)
        clearTimeout(this.#timer)
        this.#finish = undefined
        this.#state = 'closed'
        // A descriptor that a thread still writes to is left to the end of the process.
        if (this.#destination !== undefined && !this.#writing) closeDestination(this.#destination)
        this.#destination = undefined
        resolve(this.#buffer.dropAll())
      }
      if (!this.#writing) this.#pump()
    })
    return this.#closed
  }

  #more(): void {
    if (this.#timer === undefined && !this.#writing) this.#schedule(BATCH_MS)
  }

  /** One timer for everything; it holds the process only for lines that can be expected to go out. */
  #schedule(delayMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#pump(), delayMs)
    if (this.#failure !== undefined || this.#stalledSince >= 0) this.#timer.unref()
  }

  #pump(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#reopenWanted) this.#letGo()
    if (this.#destination === undefined && !this.#open()) {
      this.#giveUpOrRetry()
      return
    }
    const destination = this.#destination
    if (destination === undefined) return
    for (let taken = 0; taken < TURN_BYTES; ) {
      const bytes = this.#buffer.peek(destination.maxWriteBytes)
      if (bytes === undefined) {
        this.#drained()
        return
      }
      if (destination.threaded) {
        this.#writeInThread(destination, bytes)
        return
      }
      try {
        const count = writeSync(destination.fd, bytes)
        this.#took(count)
        taken += count
      } catch (error) {
        this.#refused(error)
        return
      }
    }
    // Others first. (Not setImmediate: the timer phase is as fair, and one timer is one thing to clear.)
    this.#schedule(0)
  }

  #writeInThread(destination: Destination, bytes: Buffer): void {
    this.#writing = true
    this.#waits()
    writeThreaded(destination.fd, bytes, 0, bytes.length, null, (error, count) => {
      this.#writing = false
      if (this.#state === 'closed') return
      if (error !== null) {
        this.#refused(error)
        return
      }
      this.#took(count)
      // Not at once: what came during the write is a handful of lines, and a round trip to the pool costs 20 us.
      if (this.#state === 'open' && !this.#reopenWanted && this.#buffer.bytes < destination.maxWriteBytes) {
        if (this.#buffer.bytes > 0) this.#schedule(BATCH_MS)
      } else {
        this.#pump()
      }
    })
  }

  #waits(): void {
    if (this.#stalledSince < 0) this.#stalledSince = performance.now()
  }

  #took(count: number): void {
    this.#buffer.consume(count)
    this.#failure = undefined
    this.#stalledSince = -1
    this.#pollMs = STALL_POLL_MIN_MS
  }

  #drained(): void {
    if (this.#state === 'closing') this.#finish?.()
  }

  #refused(error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error))
    const code = 'code' in failure && typeof failure.code === 'string' ? failure.code : ''
    if (PASSING.has(code)) {
      this.#waits()
      this.#schedule(this.#pollMs)
      this.#pollMs = Math.min(this.#pollMs * 2, STALL_POLL_MAX_MS)
      return
    }
    this.#failure = failure
    if (!(NO_ROOM.has(code) && this.#destination?.threaded)) this.#letGo()
    this.#giveUpOrRetry()
  }

  #giveUpOrRetry(): void {
    if (this.#state === 'closing') this.#finish?.()
    else this.#schedule(RETRY_MS)
  }

  /** The next bytes go to another description: they must begin a line. */
  #letGo(): void {
    this.#reopenWanted = false
    if (this.#destination?.owned !== true) return
    closeDestination(this.#destination)
    this.#destination = undefined
    this.#buffer.dropPartial()
  }

  #open(): boolean {
    try {
      this.#destination = openDestination(this.#name)
      this.#stalledSince = -1
      // One that failed at writing is up again when a write succeeds; with nothing to write, when it can be opened.
      if (this.#buffer.bytes === 0) this.#failure = undefined
      return true
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      return false
    }
  }
}
