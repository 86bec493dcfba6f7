/** When each case has its turn: side by side while they wait, and not so many that the measuring makes them late. */
import { setTimeout as delay } from 'node:timers/promises'
import { isHeavy, type ProveCase } from './case.ts'
import type { LoopDelay } from './loop-delay.ts'
import type { Result } from './prove-one.ts'
import { patienceMs } from './witness.ts'

/** Gateways that run at once. */
const MOST_AT_ONCE = 64
/** Cases that are put in their place at once, apart from the heavy ones. */
const LANES = 2
/**
 * Heavy cases that run at once. While bytes wait, gateway and kit read the kernel's socket table, each time 5 ms of a
 * core; a long timeout has it read seldom.
 */
const MOST_HEAVY = 6
const MOST_HEAVY_AND_LONG = 12
const LONG_MS = 4000

/** The next is put in its place when the event loop was not held for longer than this just now, ms; and after a pause. */
const CALM_MS = 8
const PAUSE_MS = 6

/** Tries in all, of a case whose misses may be the machine's. */
const MOST_TRIES = 3
/** Second tries are few, and do not fire at one instant. */
const MOST_AGAIN = 8
const MOST_AGAIN_HEAVY = 2
const APART_MS = 120

type Run = (one: ProveCase, underWay: () => void) => Promise<void>

/** The longest first, so that a run takes about as long as the longest of them. */
export async function together(cases: readonly ProveCase[], run: Run, loopDelay: LoopDelay): Promise<void> {
  const waiting = [...cases].sort((a, b) => patienceMs(b) - patienceMs(a))
  const heavy = waiting.filter(isHeavy)
  const long = heavy.filter(one => patienceMs(one) > LONG_MS)
  const short = heavy.filter(one => patienceMs(one) <= LONG_MS)
  const light = waiting.filter(one => !isHeavy(one))
  await Promise.all([
    lane(long, MOST_HEAVY_AND_LONG, run, loopDelay).then(() => lane(short, MOST_HEAVY, run, loopDelay)),
    ...Array.from({ length: LANES }, (_, i) => {
      const own = light.filter((_one, index) => index % LANES === i)
      return lane(own, MOST_AT_ONCE / LANES, run, loopDelay)
    }),
  ])
}

/** One after the other is put in its place, and only while the event loop has room. */
async function lane(cases: readonly ProveCase[], atOnce: number, run: Run, loopDelay: LoopDelay): Promise<void> {
  const running = new Set<Promise<void>>()
  for (const one of cases) {
    while (running.size >= atOnce) await Promise.race(running)
    while (loopDelay.longestSince(performance.now() - 20) > CALM_MS) await delay(5)
    let placed: () => void = () => {}
    const inPlace = new Promise<void>(resolve => {
      placed = resolve
    })
    const under = run(one, placed).finally(() => running.delete(under))
    running.add(under)
    await inPlace
    await delay(PAUSE_MS)
  }
  await Promise.all(running)
}

/**
 * What missed by its time alone, or on a machine that stood still, runs once more among few; and again, as long as each
 * try may be the machine's fault.
 */
export async function triesAgain(results: readonly Result[], again: (late: Result) => Promise<Result>): Promise<void> {
  let late = results.filter(({ unfair }) => unfair)
  for (let tries = 2; late.length > 0 && tries <= MOST_TRIES; tries++) {
    const next: Result[] = []
    const take = async (cases: readonly Result[], atOnce: number): Promise<void> => {
      const running = new Set<Promise<void>>()
      for (const one of cases) {
        while (running.size >= atOnce) await Promise.race(running)
        const run = again(one).then(result => {
          running.delete(run)
          if (result.unfair) next.push(result)
        })
        running.add(run)
        await delay(APART_MS)
      }
      await Promise.all(running)
    }
    const heavy = late.filter(({ one }) => isHeavy(one))
    const light = late.filter(({ one }) => !isHeavy(one))
    await Promise.all([take(light, MOST_AGAIN), take(heavy, MOST_AGAIN_HEAVY)])
    late = next
  }
}
