/** Does to a gateway what a case says, with real sockets, and returns what was seen. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import type { TimeoutName } from '../outcome.ts'
import { within } from './awaiting.ts'
import type { Plan, ProveCase } from './case.ts'
import type { Ground } from './ground.ts'
import { driveLeaving } from './leaving.ts'
import { lastMovement } from './movement.ts'
import { RawClient } from './raw-client.ts'
import { requestHead } from './raw-request.ts'
import type { PendingResponse, RawResponse } from './raw-response.ts'
import { driveUpgrade } from './websocket-drive.ts'
import {
  carriersOf,
  NotProvoked,
  patienceMs,
  type Requests,
  requestAt,
  type Stage,
  type Start,
  uploadOf,
  type Witness,
  withLength,
} from './witness.ts'

type Starts = Map<TimeoutName | 'else', Start>

const at = (instant: number): Start => ({ after: instant, before: instant })

/** @param leaving told the moment at which the crowd is not needed any more */
export async function drive(
  one: ProveCase,
  config: Config,
  ground: Ground,
  requests: Requests,
  disperse: () => void,
): Promise<Witness> {
  const patience = patienceMs(one)
  // Its own waits are longer than ours, so that it is always ours that end.
  const socket = connect({ port: ground.port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  const client = new RawClient(socket, { timeoutMs: patience + 5000 })
  await within(once(socket, 'connect'), 5000, 'connection to the gateway')
  const stage: Stage = {
    one,
    config,
    ground,
    client,
    requests,
    patienceMs: patience,
    stopReading: () => socket.pause(),
  }
  try {
    return one.plan.does === 'leaves' ? await driveLeaving(stage, one.plan, disperse) : await byPlan(stage, one.plan)
  } finally {
    client.leave('rst')
  }
}

async function byPlan(stage: Stage, plan: Exclude<Plan, { does: 'leaves' }>): Promise<Witness> {
  const { client, ground, requests, one } = stage
  switch (plan.does) {
    case 'asks':
      return asks(stage, client.request(requests.plain))
    case 'asks-again': {
      const first = await client.request(requests.first).response
      if (first.status !== 200) throw new NotProvoked(one, `the first request was answered ${first.status}`)
      const again = plan.body ? { ...requests.upload, body: 'x' } : requests.plain
      return asks(stage, client.request(again))
    }
    case 'idles': {
      const response = await client.request(requests.plain).response
      if (response.status !== 200) throw new NotProvoked(one, `the request was answered ${response.status}`)
      await ground.until(() => client.ended !== undefined, stage.patienceMs)
      const { ended } = client
      const starts: Starts = new Map([['else', { after: response.sentAt, before: response.doneAt }]])
      return { starts, endedAt: ended?.at, response, carriers: [], ...(ended ? { closedBy: ended.how } : {}) }
    }
    case 'half-a-head': {
      const head = requestHead(requests.plain, ground.port)
      const pending = client.expect()
      const sentAt = performance.now()
      await client.send(head.subarray(0, head.length >> 1))
      return ending(stage, pending, new Map([['else', at(sentAt)]]))
    }
    case 'speaks': {
      const pending = client.expect()
      void client.sendUnlessGone(plan.bytes)
      return ending(stage, pending, new Map([['else', at(pending.sentAt)]]))
    }
    case 'stops-uploading':
      return stopsUploading(stage, plan)
    case 'uploads': {
      const pending = client.requestHead(withLength(requests.upload, plan.body))
      const over = new AbortController()
      // Nobody takes all of it.
      void client.sendUnlessGone(uploadOf(plan.body))
      const carried = await requestAt(stage)
      const movement = lastMovement({ localPort: carried.localPort, remotePort: carried.remotePort }, over.signal)
      const witness = await ending(stage, pending, new Map([['else', at(pending.sentAt)]]))
      over.abort()
      carried.readOn()
      const starts: Starts = new Map([['request_write', await movement]])
      return { ...witness, starts, carriers: [carried], unread: true }
    }
    case 'ends-late': {
      const pending = client.requestHead(withLength(requests.upload, 2))
      await client.send('x')
      await delay(plan.afterMs)
      const sentAt = performance.now()
      await client.send('x')
      return ending(stage, pending, new Map([['else', at(sentAt)]]))
    }
    case 'upgrades':
      return driveUpgrade(stage, plan)
    case 'never-reads': {
      stage.stopReading()
      const pending = client.request(requests.plain)
      const over = new AbortController()
      const movement = lastMovement({ localPort: client.localPort, remotePort: client.remotePort }, over.signal)
      // A client that does not read sees nothing in time; the line is written, and the upstream let go, at that instant.
      await ground.until(() => ground.lines.length > 0, stage.patienceMs)
      over.abort()
      const starts: Starts = new Map([
        ['else', at(pending.sentAt)],
        ['listen.timeouts.write_idle', await movement],
      ])
      const endedAt = ground.lines[0]?.at
      if (endedAt === undefined) return { starts, endedAt, carriers: carriersOf(stage) }
      client.resume()
      const response = await pending.response
      return { starts, endedAt, response, carriers: carriersOf(stage) }
    }
  }
}

async function asks(stage: Stage, pending: PendingResponse): Promise<Witness> {
  const { ground } = stage
  const starts: Starts = new Map([['else', at(pending.sentAt)]])
  const onBody = pending.bodyReached(1).then(
    () => starts.set('body_idle', { after: pending.sentAt, before: performance.now() }),
    () => {},
  )
  const witness = await ending(stage, pending, starts)
  await onBody
  const received = ground.upstreams.flatMap(({ requests }) => requests).at(-1)
  if (received !== undefined) {
    starts.set('response_headers', { after: pending.sentAt, before: Math.max(pending.sentAt, received.receivedAt) })
    const idle = starts.get('body_idle')
    if (idle !== undefined) starts.set('body_idle', { ...idle, after: received.receivedAt })
  }
  return witness
}

async function stopsUploading(stage: Stage, plan: Extract<Plan, { does: 'stops-uploading' }>): Promise<Witness> {
  const { client, requests, one } = stage
  const pending = client.requestHead(withLength(requests.upload, plan.body))
  const starts: Starts = new Map([['else', at(pending.sentAt)]])
  const tooLarge = one.word === 'body_too_large'
  if (!tooLarge) {
    // The upstream is written to when there is something of the body to write.
    await client.send('x')
    await requestAt(stage)
    starts.set('listen.min_body_rate', { after: pending.sentAt, before: performance.now() })
    const sentAt = performance.now()
    if (plan.sends > 1) await client.send(uploadOf(plan.sends - 1))
    // Of many bytes the last are received some turns after the first.
    starts.set('listen.timeouts.body_idle', {
      after: plan.sends > 1 ? sentAt : pending.sentAt,
      before: performance.now(),
    })
    if (plan.pace !== undefined) {
      const { bytesPerTick, tickMs } = plan.pace
      const bytes = Math.min(plan.body - plan.sends, bytesPerTick * Math.ceil(stage.patienceMs / tickMs))
      void client.drip(uploadOf(bytes), plan.pace)
    }
  }
  return ending(stage, pending, starts)
}

/** Waits for the end of the response, however it ends; as long as the case is worth. */
async function ending(stage: Stage, pending: PendingResponse, starts: Starts): Promise<Witness> {
  const { ground } = stage
  let response: RawResponse | undefined
  pending.response.then(
    seen => {
      response = seen
    },
    () => {},
  )
  await ground.until(() => response !== undefined, stage.patienceMs)
  const seen = response
  const carriers = carriersOf(stage)
  if (seen === undefined) return { starts, endedAt: undefined, carriers }
  return { starts, endedAt: seen.complete ? (seen.headersAt ?? seen.doneAt) : seen.doneAt, response: seen, carriers }
}
