/** One case from its gateway's start to its verdict. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { isHeavy, nameOf, type ProveCase } from './case.ts'
import { gather } from './crowd.ts'
import { drive } from './drive.ts'
import { type Ground, type Grounds, openGround } from './ground.ts'
import { type Books, booksWrong, IDLE_POOL, type Judgement, judge } from './judge.ts'
import type { LoopDelay } from './loop-delay.ts'
import { toleranceMs } from './promised.ts'
import { NotProvoked, patienceMs, requestsFor } from './witness.ts'

export type Verdict = 'proven' | 'second try' | 'miss'

export interface Result {
  readonly one: ProveCase
  readonly name: string
  readonly verdict: Verdict
  readonly configuredMs?: number
  /** Since the timeout's first event; for a client that left, until it was noticed. */
  readonly firedMs?: number
  readonly overrunMs?: number
  readonly expected: string
  readonly called: string
  /** Why it is a miss, or was one at the first try. */
  readonly wrong: readonly string[]
  /**
   * Only the time was wrong, or the machine so busy that nothing could be right, or the fault itself hangs on how much
   * the kernels take; or it is proven, and seen too vaguely to say by how much: worth another try. What is broken misses each of them.
   */
  readonly unfair: boolean
  /** The longest that the event loop was held meanwhile, ms. */
  readonly heldMs: number
}

/** Above this the machine is part of the explanation, ms. */
export const BUSY_MS = 25
/** Above this nothing that was seen says much, ms. */
const HOPELESS_MS = 100
/** So long it takes to fill the kernel's buffers, ms. */
const HEAVY_MS = 60
/** For what is in flight to end after its clients left: a client nobody reads is missed after a second. */
const SETTLE_MS = 2500

export async function proveOne(
  one: ProveCase,
  config: Config,
  grounds: Grounds,
  loopDelay: LoopDelay,
  /** Called when everything is in its place, and only time has to pass. */
  underWay: () => void,
): Promise<Result> {
  const from = performance.now()
  const { expect } = one
  const base = {
    one,
    name: nameOf(one),
    ...(one.configuredMs === undefined ? {} : { configuredMs: one.configuredMs }),
  }
  const hoped = expect.map(({ outcome, stages, party, status }) =>
    [outcome, stages.filter(stage => stage !== undefined).join('|'), party, status]
      .filter(word => word !== '')
      .join(', '),
  )
  const promised = [...new Set(hoped)].join(' or ')
  let ground: Ground | undefined
  try {
    ground = await openGround(one, config, grounds)
    const judgement = await onGround(one, config, ground, underWay)
    const heldMs = loopDelay.longestSince(from)
    const { wrong, late, firedMs, overrunMs, called } = judgement
    const all = [...wrong, ...late]
    // In time as far as is known, and perhaps not: seen through a stall of this process, it deserves a better look.
    const { afterMs } = judgement.expected
    const vague = overrunMs !== undefined && afterMs !== undefined && overrunMs > toleranceMs(afterMs)
    if (all.length > 0 && heldMs > BUSY_MS) {
      all.push(`the machine was too busy: the event loop was held for up to ${Math.round(heldMs)} ms`)
    }
    return {
      ...base,
      verdict: all.length === 0 ? 'proven' : 'miss',
      expected: promised,
      called: called ?? 'nothing',
      wrong: all,
      unfair: all.length === 0 ? vague : wrong.every(mayBeNoise) || heldMs > HOPELESS_MS || leavesInWriting(one),
      heldMs,
      ...(firedMs === undefined ? {} : { firedMs }),
      ...(overrunMs === undefined ? {} : { overrunMs }),
    }
  } catch (error) {
    return {
      ...base,
      verdict: 'miss',
      expected: promised,
      called: 'nothing',
      wrong: [(error as Error).message],
      unfair: error instanceof NotProvoked || loopDelay.longestSince(from) > BUSY_MS,
      heldMs: loopDelay.longestSince(from),
    }
  } finally {
    underWay()
    await ground?.close().catch(() => {})
  }
}

async function onGround(one: ProveCase, config: Config, ground: Ground, underWay: () => void): Promise<Judgement> {
  const route = config.routes.find(({ name }) => name === one.route) ?? config.routes[0]
  if (route === undefined) throw new Error('a configuration without routes')
  const requests = requestsFor(config, route)
  const crowd =
    one.crowd === undefined
      ? undefined
      : await gather(one, config, ground, { upload: requests.crowdUpload, plain: requests.crowdPlain }, patienceMs(one))
  if (isHeavy(one)) setTimeout(underWay, HEAVY_MS)
  else underWay()
  const disperse = (): void => crowd?.leave()
  let judgement: Judgement
  try {
    const witness = await drive(one, config, ground, requests, disperse)
    const gone = (): boolean => witness.carriers.every(({ ended, isOpen }) => ended !== undefined || !isOpen)
    if (isCut(one)) await ground.until(gone, 1000)
    judgement = judge(one, ground, witness)
  } finally {
    disperse()
  }
  const books = await settledBooks(one, judgement, ground)
  await ground.stop()
  const open = (): number => ground.upstreams.reduce((sum, { openSockets }) => sum + openSockets, 0)
  const left = (await ground.until(() => open() === 0, SETTLE_MS))
    ? []
    : [`${open()} upstream connections stayed open when the gateway had stopped`]
  return {
    ...judgement,
    wrong: [...judgement.wrong, ...books.wrong, ...left],
    late: [...judgement.late, ...books.late],
  }
}

function mayBeNoise(wrong: string): boolean {
  return wrong.startsWith(IDLE_POOL)
}

/** How long it stays there is up to what the kernels take. */
function leavesInWriting({ plan }: ProveCase): boolean {
  return plan.does === 'leaves' && plan.at.endsWith('_write')
}

function isCut(one: ProveCase): boolean {
  return one.expect[0].outcome !== 'completed'
}

/** The books are balanced when all is quiet: asked again until they are, for a while. */
async function settledBooks(one: ProveCase, judgement: Judgement, ground: Ground): Promise<Books> {
  let books: Books = { wrong: [], late: [] }
  const end = performance.now() + SETTLE_MS
  for (let pauseMs = 10; ; pauseMs *= 2) {
    await delay(pauseMs)
    books = booksWrong(one, judgement.expected, ground, await ground.scrape())
    if (books.wrong.length === 0 || performance.now() > end) return books
  }
}
