/**
 * The watchdog as the main thread knows it: it beats, says who has been under way for longest, and counts the stalls that
 * the thread has seen. While nothing is wrong: 4 beats a second.
 */
import type { AddressInfo } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { WatchdogConfig } from '../config/config.ts'
import { HistogramCell } from '../observe/cells.ts'
import { beatMs, WatchdogMemory, type WatchdogMessage } from './watchdog-memory.ts'

/** Seconds. */
const STALL_BUCKETS: readonly number[] = [0.1, 0.5, 1, 2, 3, 5, 10, 30, 60]

/**
 * The thread's file: beside this one where it was built. From the source, a worker of Node 20 takes no part in the loader
 * that its process was started with (`Unknown file extension ".ts"`, tsx 4.23): it has to be registered there anew.
 */
function threadFile(): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL('./watchdog-thread.js', import.meta.url)
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  const thread = JSON.stringify(new URL('./watchdog-thread.ts', import.meta.url))
  const code = `import { register } from ${loader}; register(); await import(${thread})`
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`)
}

/** Nothing that is preloaded into the process (NODE_OPTIONS, --import) has any business in the thread. */
const ALONE = { execArgv: [], env: {}, resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 } }

export interface WatchdogParts {
  readonly config: WatchdogConfig
  /** The exchanges that have been under way for longest, as the line is to name them. */
  readonly oldest: () => readonly { readonly age_ms: number }[]
  /** What `/healthz` would say now. */
  readonly ill: () => boolean
  /** The loop turns again. */
  readonly recovered: (stalledMs: number) => void
  /** The thread has ended by itself. */
  readonly lost: (error: Error) => void
}

export class Watchdog {
  readonly seconds = new HistogramCell(STALL_BUCKETS, {})
  /** The thread watches. */
  up = false
  readonly #parts: WatchdogParts
  readonly #memory = new WatchdogMemory()
  #worker: Worker | undefined
  #timer: NodeJS.Timeout | undefined
  #beatAt = 0
  #stalls = 0

  constructor(parts: WatchdogParts) {
    this.#parts = parts
  }

  /** How often the event loop stood still for `watchdog.stall`. */
  get stalls(): number {
    return this.#memory.stalls
  }

  /**
   * Resolves when the thread watches, with where it answers (null: nowhere). Rejects where it cannot listen, with the
   * error of listen(2).
   */
  start(): Promise<AddressInfo | null> {
    const { config, lost } = this.#parts
    const worker = new Worker(threadFile(), { ...ALONE, workerData: { config, shared: this.#memory.shared } })
    this.#worker = worker
    this.#beat()
    this.#timer = setInterval(() => this.#beat(), beatMs(config)).unref()
    return new Promise((resolve, reject) => {
      const ended = (error: Error): void => {
        reject(error)
        if (!this.up) return
        this.up = false
        lost(error)
      }
      worker.once('message', ({ address }: WatchdogMessage) => {
        this.up = true
        worker.unref()
        resolve(address)
      })
      worker.once('error', ended)
      worker.once('exit', code => ended(new Error(`the watchdog thread ended with ${code}`)))
    })
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.up = false
    await this.#worker?.terminate()
  }

  #beat(): void {
    const { oldest, ill, recovered } = this.#parts
    const now = performance.now()
    const stoodMs = now - this.#beatAt
    this.#beatAt = now
    const { stalls } = this.#memory
    if (stalls !== this.#stalls) {
      this.#stalls = stalls
      this.seconds.observe(stoodMs / 1000)
      recovered(stoodMs)
    }
    this.#memory.ill = ill()
    this.#memory.write(JSON.stringify(oldest()))
    this.#memory.beat()
  }
}
