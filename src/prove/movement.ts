/**
 * When bytes last moved between two sockets one of which is not read: the instant at which `write_idle` and
 * `request_write` begin, which nobody but the kernel knows. Linux only.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { readSocketTable, type SocketEnds, type SocketRow } from './socket-table.ts'

const EVERY_MS = 20
/** Buffers fill at once and then rest: after this long, ms, a look now and then is enough. */
const FILLED_MS = 400
const SELDOM_MS = 120

/** Between these two instants (monotonic ms) the last bytes were taken. */
export interface Movement {
  readonly after: number
  readonly before: number
}

interface Look {
  readonly at: number
  readonly rows: readonly SocketRow[]
}

let everyMs = EVERY_MS
let shared: { readonly startedAt: number; readonly look: Promise<Look> } | undefined

/** One reading for all who ask within the same 20 ms. */
function look(): Promise<Look> {
  const startedAt = performance.now()
  if (shared === undefined || startedAt - shared.startedAt > everyMs / 2) {
    const reading = readSocketTable().then(rows => {
      // A table of many thousand rows takes its time: at most a third of it is spent on reading.
      everyMs = Math.max(EVERY_MS, 2 * (performance.now() - startedAt))
      return { at: startedAt, rows }
    })
    shared = { startedAt, look: reading }
  }
  return shared.look
}

/** Watches until `over`, and tells when bytes last went into the one kernel's buffer, or over into the other's. */
export async function lastMovement(ends: SocketEnds, over: AbortSignal): Promise<Movement> {
  let held = ''
  let most = -1
  let seenAt = performance.now()
  const from = seenAt
  let movement: Movement = { after: seenAt, before: seenAt }
  while (!over.aborted) {
    const { at, rows } = await look()
    let unsent = 0
    let unread = 0
    let found = 0
    for (const { localPort, remotePort, unsentBytes, unreadBytes } of rows) {
      const isReceiver = localPort === ends.localPort && remotePort === ends.remotePort
      const isSender = localPort === ends.remotePort && remotePort === ends.localPort
      if (isReceiver) unread = unreadBytes
      if (isSender) unsent = unsentBytes
      if (isReceiver || isSender) found++
    }
    if (over.aborted) break
    // Any change is a movement: the rows are not read at one instant, so that their sum can be too large for once.
    const now = `${unsent} ${unread}`
    // With one of the two gone, what is seen is the end.
    if (found === 2 && now !== held) {
      // What moves from one kernel to the other may, or may not, be called progress: only what was added surely is.
      const added = unsent + unread > most * 1.05
      movement = { after: added ? seenAt : movement.after, before: performance.now() }
      most = Math.max(most, unsent + unread)
    }
    if (found === 2) held = now
    seenAt = at
    await delay(
      performance.now() - Math.max(from, movement.before) > FILLED_MS ? Math.max(SELDOM_MS, everyMs) : everyMs,
    )
  }
  return movement
}
