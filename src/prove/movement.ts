/**
 * When bytes last moved between two sockets one of which is not read: the instant at which `write_idle` and
 * `request_write` begin, which nobody but the kernel knows. Linux only.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { readSocketTable, type SocketEnds, type SocketRow } from './socket-table.ts'

const EVERY_MS = 20

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

/** Watches until `over`, and tells when the two kernels' buffers of this connection last grew. */
export async function lastMovement(ends: SocketEnds, over: AbortSignal): Promise<Movement> {
  let held = -1
  let seenAt = performance.now()
  let movement: Movement = { after: seenAt, before: seenAt }
  while (!over.aborted) {
    const { at, rows } = await look()
    let now = 0
    for (const { localPort, remotePort, unsentBytes, unreadBytes } of rows) {
      if (localPort === ends.localPort && remotePort === ends.remotePort) now += unreadBytes
      else if (localPort === ends.remotePort && remotePort === ends.localPort) now += unsentBytes
    }
    if (over.aborted) break
    if (now > held) movement = { after: seenAt, before: performance.now() }
    held = Math.max(held, now)
    seenAt = at
    await delay(everyMs)
  }
  return movement
}
