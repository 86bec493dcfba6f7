/** Time in the test's hands: the monotonic clock, the timer phase and the check phase of the event loop. */
import type { TestContext } from 'node:test'

export interface MockTime {
  /** ms since the test began. */
  readonly now: number
  /** Time passes on an idle loop, ms by ms: timers run when they are due, immediates after them. */
  pass(ms: number): void
  /** Time passes and the loop does not turn. */
  stall(ms: number): void
  /** One timer phase. */
  timers(): void
  /** One check phase. */
  immediates(): void
}

interface Timer {
  readonly at: number
  readonly run: () => void
}

/** Why not node:test's mock timers: on Node 20 they know neither `performance.now` nor a phase of its own for immediates. */
export function mockTime(t: TestContext): MockTime {
  let now = 0
  const timers = new Set<Timer>()
  let immediates: (() => void)[] = []
  t.mock.method(performance, 'now', () => now)
  t.mock.method(globalThis, 'setTimeout', (run: (...args: unknown[]) => void, ms: number, ...args: unknown[]) => {
    const timer = { at: now + ms, run: () => run(...args) }
    timers.add(timer)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', (timer: Timer) => timers.delete(timer))
  t.mock.method(globalThis, 'setImmediate', (run: (...args: unknown[]) => void, ...args: unknown[]) => {
    immediates.push(() => run(...args))
  })
  const runTimers = (): void => {
    for (const timer of [...timers].sort((a, b) => a.at - b.at)) {
      if (timer.at <= now && timers.delete(timer)) timer.run()
    }
  }
  const runImmediates = (): void => {
    const due = immediates
    immediates = []
    for (const run of due) run()
  }
  return {
    get now() {
      return now
    },
    pass: ms => {
      for (const end = now + ms; ; now++) {
        runTimers()
        runImmediates()
        if (now >= end) return
      }
    },
    stall: ms => {
      now += ms
    },
    timers: runTimers,
    immediates: runImmediates,
  }
}
