/**
 * What the main thread leaves for the watchdog thread, in memory that both see: the one way to say something to a thread
 * that is asked when the other cannot answer any more.
 */
import type { AddressInfo } from 'node:net'
import type { WatchdogConfig } from '../config/config.ts'

/** The exit code of a process that its watchdog has ended: sysexits.h EX_SOFTWARE. */
export const EXIT_STALLED = 70

/**
 * How often the main thread beats: an eighth of `stall`. A loop that has not turned for `stall` has missed the beat that was
 * due before, so a stall is told between `stall` and `stall` and an eighth after its beginning.
 */
export function beatMs({ stallMs }: WatchdogConfig): number {
  return Math.min(Math.max(stallMs / 8, 20), 1000)
}

/** Monotonic ms on a clock that all threads read alike; `performance.now()` begins anew in each. */
function clock(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}

/** What the thread says once, when it watches. */
export interface WatchdogMessage {
  /** Where it answers; null: nowhere. */
  readonly address: AddressInfo | null
}

const BEAT_AT = 0
const STALLS = 1
const ILL = 2
const TEXT_BYTES = 3
const NUMBERS = 4
const TEXT_ROOM = 8192

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class WatchdogMemory {
  readonly shared: SharedArrayBuffer
  readonly #numbers: Int32Array
  readonly #text: Uint8Array

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(NUMBERS * 4 + TEXT_ROOM)) {
    this.shared = shared
    this.#numbers = new Int32Array(shared, 0, NUMBERS)
    this.#text = new Uint8Array(shared, NUMBERS * 4)
  }

  /** The main thread: my loop turns. */
  beat(): void {
    // The lower 32 bits: a difference of two instants is right up to 24 days.
    Atomics.store(this.#numbers, BEAT_AT, clock() | 0)
  }

  /** How long ago the last beat was, ms. */
  get beatAgeMs(): number {
    return (clock() - Atomics.load(this.#numbers, BEAT_AT)) | 0
  }

  /** The watchdog: it has stood still for too long. */
  stalled(): void {
    Atomics.add(this.#numbers, STALLS, 1)
  }

  get stalls(): number {
    return Atomics.load(this.#numbers, STALLS)
  }

  /** What `/healthz` would say. */
  set ill(ill: boolean) {
    Atomics.store(this.#numbers, ILL, ill ? 1 : 0)
  }

  get ill(): boolean {
    return Atomics.load(this.#numbers, ILL) === 1
  }

  /** JSON of at most 8 KiB; what is longer is not kept. */
  write(json: string): void {
    // Empty while it is being written: the thread may look at any time.
    Atomics.store(this.#numbers, TEXT_BYTES, 0)
    const { read, written } = encoder.encodeInto(json, this.#text)
    if (read === json.length) Atomics.store(this.#numbers, TEXT_BYTES, written)
  }

  read(): string {
    // A TextDecoder takes no shared memory (Web IDL: [AllowShared] is not given).
    return decoder.decode(this.#text.slice(0, Atomics.load(this.#numbers, TEXT_BYTES)))
  }
}
