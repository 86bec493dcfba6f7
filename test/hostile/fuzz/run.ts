/** Rounds of fuzzing until the time is up, from one seed. The first counterexample is shrunk, and ends the run. */
import fc from 'fast-check'
import { openArena } from './arena.ts'
import { answer, attack } from './messages.ts'

export interface Tally {
  readonly rounds: number
  readonly messages: number
  readonly exchanges: number
}

const SIZES = { minLength: 1, maxLength: 24, size: 'max' } as const
const ROUNDS_PER_SEED = 200

export async function fuzz(
  seconds: number,
  seed: number,
  progress: (tally: Tally, seed: number) => void,
): Promise<Tally> {
  const arena = await openArena()
  const until = performance.now() + seconds * 1000
  let rounds = 0
  let each = seed
  const tally = (): Tally => ({ rounds, messages: arena.messages, exchanges: arena.exchanges })
  try {
    const check = async <T>(property: fc.IAsyncPropertyWithHooks<[T]>): Promise<void> => {
      property.beforeEach(() => {
        rounds++
      })
      const left = until - performance.now()
      if (left <= 0) return
      const details = await fc.check(property, { seed: each, numRuns: ROUNDS_PER_SEED, interruptAfterTimeLimit: left })
      if (details.counterexample !== null) {
        throw new Error(`${details.errorInstance}\n${await fc.asyncDefaultReportMessage(details)}`)
      }
    }
    for (; performance.now() < until; each++) {
      await check(fc.asyncProperty(fc.array(attack, SIZES), attacks => arena.clients(attacks)))
      await check(fc.asyncProperty(fc.array(answer, SIZES), answers => arena.upstream(answers)))
      progress(tally(), each)
    }
    return tally()
  } finally {
    await arena.close()
  }
}
