/** Awaiting things that a broken gateway may never do: every wait ends, and says what was missing. */

/** Default bound of every await of the kit, ms. Far above any timeout of the tests, far below a runner's patience. */
export const AWAIT_MS = 10_000

/** Rejects with what was awaited when it has not come after `timeoutMs`. `state` adds what had come by then. */
export function within<T>(
  promise: Promise<T>,
  timeoutMs: number,
  what: string,
  state: () => string = () => '',
): Promise<T> {
  // Made here, not in the timer: its stack then names the test line that waits.
  const late = new Error(`no ${what} within ${timeoutMs} ms`)
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      const seen = state()
      if (seen !== '') late.message += ` (${seen})`
      reject(late)
    }, timeoutMs)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

/** `Promise.withResolvers` is not in Node 20. A rejection that nobody awaits is no unhandled one. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  promise.catch(() => {})
  return { promise, resolve, reject }
}

/** A count that only grows, and can be awaited: bytes received, requests seen, sockets closed. */
export class Progress {
  #value = 0
  #ended: Error | undefined
  #waiting: { readonly target: number; readonly done: Deferred<void> }[] = []

  get value(): number {
    return this.#value
  }

  add(amount: number): void {
    this.#value += amount
    const due = this.#waiting.filter(({ target }) => this.#value >= target)
    this.#waiting = this.#waiting.filter(({ target }) => this.#value < target)
    for (const { done } of due) done.resolve()
  }

  /** Nothing more will come: who still waits, or asks for more than came, is refused with `error`. */
  end(error: Error): void {
    this.#ended ??= error
    for (const { done } of this.#waiting.splice(0)) done.reject(error)
  }

  async reached(target: number): Promise<void> {
    if (this.#value >= target) return
    if (this.#ended) throw this.#ended
    const done = deferred<void>()
    this.#waiting.push({ target, done })
    return done.promise
  }
}

/** Things that arrive, each handed out once, in order, to whoever asks next. */
export class Arrivals<T> {
  #unclaimed: T[] = []
  #askers: Deferred<T>[] = []

  add(item: T): void {
    const asker = this.#askers.shift()
    if (asker) asker.resolve(item)
    else this.#unclaimed.push(item)
  }

  next(timeoutMs: number, what: string, state?: () => string): Promise<T> {
    const item = this.#unclaimed.shift()
    if (item !== undefined) return Promise.resolve(item)
    const asker = deferred<T>()
    this.#askers.push(asker)
    return within(asker.promise, timeoutMs, what, state).catch((error: unknown) => {
      // An asker who gave up must not swallow a later arrival.
      this.#askers = this.#askers.filter(other => other !== asker)
      throw error
    })
  }
}
