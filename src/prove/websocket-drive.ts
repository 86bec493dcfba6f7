/** A client that asks for WebSocket, gets it, and says no more than its case wants. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { TimeoutName } from '../outcome.ts'
import { within } from './awaiting.ts'
import { CLOSE, frame, framesIn, PING, PONG } from './frames.ts'
import { requestHead } from './raw-request.ts'
import { carriersOf, NotProvoked, type Stage, type Start, type Witness } from './witness.ts'

export interface UpgradePlan {
  readonly does: 'upgrades'
  /** Whether it is alive, as far as pings tell. */
  readonly answersPings: boolean
  /** It pings by itself, so that it is not idle. */
  readonly pingsEveryMs?: number
}

/** What every client may send: the key is no secret. */
const HANDSHAKE = [
  ['Connection', 'Upgrade'],
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
  ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
] as const

/** For the gateway's own to be written down after the client has seen its end: a closing handshake, ms. */
const SETTLE_MS = 2000
/** Of two observers of one instant, ms. */
const SAME_INSTANT_MS = 2

export async function driveUpgrade(stage: Stage, plan: UpgradePlan): Promise<Witness> {
  const { ground, requests, one } = stage
  // It speaks no WebSocket; and a connection that says nothing runs into a timeout of its own.
  stage.client.leave('rst')
  const socket = connect({ port: ground.port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  let head = ''
  let switchedAt: number | undefined
  let pingedAt: number | undefined
  let endedAt: number | undefined
  let closedBy: 'fin' | 'rst' | undefined
  const over = (how?: 'fin' | 'rst'): void => {
    endedAt ??= performance.now()
    if (how !== undefined) closedBy ??= how
  }
  const takeFrames = (bytes: Buffer): void => {
    for (const { opcode, payload } of framesIn(bytes)) {
      if (opcode === CLOSE) {
        over()
        socket.end(frame(CLOSE, payload.subarray(0, 2), true))
      } else if (opcode === PING) {
        pingedAt ??= performance.now()
        if (plan.answersPings) socket.write(frame(PONG, payload, true))
      }
    }
  }
  socket.on('data', bytes => {
    if (switchedAt !== undefined) {
      takeFrames(bytes)
      return
    }
    head += bytes.toString('latin1')
    const end = head.indexOf('\r\n\r\n')
    if (end === -1) return
    if (head.startsWith('HTTP/1.1 101 ')) switchedAt = performance.now()
    takeFrames(Buffer.from(head.slice(end + 4), 'latin1'))
  })
  socket.on('end', () => {
    over('fin')
    socket.end()
  })
  socket.on('error', () => over('rst'))
  socket.on('close', () => over('fin'))
  let pinging: NodeJS.Timeout | undefined
  try {
    await within(once(socket, 'connect'), 5000, 'connection to the gateway')
    const { plain } = requests
    const sentAt = performance.now()
    const headers = [...(plain.headers ?? []), ...HANDSHAKE]
    socket.write(requestHead({ ...plain, method: 'GET', headers }, ground.port))
    const { pingsEveryMs } = plan
    if (pingsEveryMs !== undefined) {
      pinging = setInterval(() => {
        if (switchedAt !== undefined && !socket.writableEnded) socket.write(frame(PING, Buffer.alloc(0), true))
      }, pingsEveryMs)
    }
    // Whose silence is to be noticed is asked once first: that takes as long again.
    await ground.until(() => endedAt !== undefined, stage.patienceMs * (plan.answersPings ? 1 : 2))
    clearInterval(pinging)
    if (switchedAt === undefined) throw new NotProvoked(one, `no 101: ${head.slice(0, 40)}`)
    const written = (): boolean => ground.lines.some(({ fields }) => fields['websocket'] !== undefined)
    await ground.until(() => closedBy !== undefined && written(), SETTLE_MS)
    const opened: Start = { after: sentAt, before: switchedAt }
    const starts = new Map<TimeoutName | 'else', Start>([['else', opened]])
    if (pingedAt !== undefined) {
      starts.set('websocket.ping_interval', { after: pingedAt - SAME_INSTANT_MS, before: pingedAt })
    }
    return { starts, endedAt, carriers: carriersOf(stage), ...(closedBy === undefined ? {} : { closedBy }) }
  } finally {
    clearInterval(pinging)
    socket.destroy()
  }
}
