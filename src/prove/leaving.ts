/** A client that leaves once its exchange has come to a stage: what becomes of the upstream's work, and when. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Plan } from './case.ts'
import { UNSEEN_MS } from './other-cases.ts'
import {
  carriersOf,
  NotProvoked,
  requestAt,
  type Stage,
  SUBJECT_PORT,
  uploadOf,
  type Witness,
  withLength,
} from './witness.ts'

/** How long an upstream that is to be left alone is watched, ms. */
const LEFT_ALONE_MS = 60
const NOTICED_MS = 1000
const HELD_MS = 100

export async function driveLeaving(
  stage: Stage,
  plan: Extract<Plan, { does: 'leaves' }>,
  disperse: () => void,
): Promise<Witness> {
  const { client, ground, requests, one, config } = stage
  const upload = plan.body === undefined ? undefined : withLength(requests.upload, plan.body)
  const starts: Witness['starts'] = new Map()
  if (plan.at === 'client_write') stage.stopReading()
  const pending = upload === undefined ? client.request(requests.plain) : client.requestHead(upload)
  if (upload !== undefined) {
    // In request_body half of it is missing; in request_write nobody takes it.
    const bytes = plan.at === 'request_body' ? (plan.body ?? 0) >> 1 : (plan.body ?? 0)
    void client.sendUnlessGone(uploadOf(bytes))
    await requestAt(stage)
  }
  if (plan.at === 'response_body') await pending.bodyReached(1)
  const line = () => ground.lines.find(({ fields }) => String(fields['host']).endsWith(`:${SUBJECT_PORT}`))
  // On its way a request passes through the two stages of writing in no time: what counts is to be held there.
  let before = false
  const reached = await ground.until(async () => {
    const now = (await ground.stages()).includes(plan.at)
    const held = now && (before || !plan.at.endsWith('_write'))
    before = now
    if (now && !held) await delay(HELD_MS)
    return held
  }, 2000)
  // What ended it first is for the judge; where nothing did, the fault was not what it was meant to be.
  if (!reached && line() === undefined) throw new NotProvoked(one, `the exchange never was in ${plan.at}`)
  const leftAt = performance.now()
  client.leave(plan.by)

  const route = config.routes.find(({ name }) => name === one.route)
  const received = upload === undefined
  const finish = route?.onClientAbort.value === 'finish' && received
  if (!finish) {
    await ground.until(() => line() !== undefined, plan.at === 'request_write' ? UNSEEN_MS + 1000 : NOTICED_MS)
    const carriers = carriersOf(stage)
    if (plan.at === 'request_write') for (const carrier of carriers) carrier.readOn()
    const seen = { starts, endedAt: line()?.at, leftAt, carriers }
    return plan.at === 'request_write' ? { ...seen, unread: true } : { ...seen, promptly: true }
  }

  const finished = await lookOn(stage, plan, disperse)
  const patience = plan.at === 'connect' ? (route?.timeouts.connect.value ?? 0) : 0
  await ground.until(() => line() !== undefined, patience + 2500)
  return { starts, endedAt: line()?.at, leftAt, carriers: [], finished }
}

/** `on_client_abort: finish`: whether the upstream's work went on to its end. */
async function lookOn(
  { ground }: Stage,
  plan: Extract<Plan, { does: 'leaves' }>,
  disperse: () => void,
): Promise<boolean> {
  const answered = (): boolean => ground.upstreams.some(({ counters }) => counters.answered > 0)
  if (plan.at === 'connect') return true
  if (plan.at === 'queue') disperse()
  if (plan.at === 'response_headers') {
    await delay(LEFT_ALONE_MS)
    const request = ground.upstreams.flatMap(({ requests }) => requests).at(-1)
    if (request?.connection.ended !== undefined) return false
    request?.answer().catch(() => {})
  }
  return ground.until(answered, 5000)
}
