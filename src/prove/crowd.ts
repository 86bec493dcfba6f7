/**
 * What is in the way when a case's own request comes: uploads that never end hold the connections (no deadline runs
 * before the last byte of a body, and no idle timeout while bytes come), and plain requests wait in the queue.
 */
import type { Config } from '../config/config.ts'
import type { ProveCase } from './case.ts'
import { uploadBytes } from './crowd-size.ts'
import type { Ground } from './ground.ts'
import { openClient, type RawClient } from './raw-client.ts'
import type { RawRequest } from './raw-request.ts'
import { NotProvoked } from './witness.ts'

/** Opened at once; more would hold the event loop that everything here shares. */
const BATCH = 8
const ARRIVAL_MS = 5000

export interface CrowdInTheWay {
  leave(): void
}

/** How many uploads, and how many that wait, the case needs. */
function sizeOf(one: ProveCase, config: Config): { readonly holding: number; readonly waiting: number } {
  const route = config.routes.find(({ name }) => name === one.route)
  const upstream = config.upstreams.find(({ name }) => name === route?.upstream)
  if (one.crowd === undefined || route === undefined || upstream === undefined) return { holding: 0, waiting: 0 }
  if (one.crowd === 'in_flight') {
    return { holding: one.adjust?.inFlight ?? route.limits.inFlight.value, waiting: 0 }
  }
  const holding = one.adjust?.slots ?? upstream.pool.maxConnections * upstream.endpoints.length
  return { holding, waiting: one.crowd === 'queue' ? (one.adjust?.queue ?? upstream.pool.queue) : 0 }
}

/** Resolves when all of it is in its place. */
export async function gather(
  one: ProveCase,
  config: Config,
  ground: Ground,
  requests: { readonly upload: RawRequest; readonly plain: RawRequest },
  lastsMs: number,
): Promise<CrowdInTheWay> {
  const { holding, waiting } = sizeOf(one, config)
  const clients: RawClient[] = []
  const { minBodyRate, timeouts } = config.listen
  const rate = minBodyRate?.bytesPerSecond ?? 0
  const tickMs = Math.max(10, Math.min(timeouts.bodyIdle.value / 4, (minBodyRate?.graceMs ?? Infinity) / 4, 250))
  const tick = Buffer.alloc(Math.max(1, Math.ceil((2 * rate * tickMs) / 1000)), 'x')
  const body = uploadBytes(rate, lastsMs)
  const upload: RawRequest = {
    ...requests.upload,
    headers: [...(requests.upload.headers ?? []), ['Content-Length', String(body)]],
  }
  let sent = 0
  const dripping = setInterval(() => {
    if (sent + tick.length >= body) return
    sent += tick.length
    for (const client of clients) void client.sendUnlessGone(tick)
  }, tickMs)
  const leave = (): void => {
    clearInterval(dripping)
    for (const client of clients) client.leave('rst')
  }
  try {
    const arrived = (): number => ground.upstreams.reduce((sum, { counters }) => sum + counters.requests, 0)
    for (let opened = 0; opened < holding; opened += BATCH) {
      const batch = await Promise.all(
        Array.from({ length: Math.min(BATCH, holding - opened) }, async () => {
          const client = await openClient(ground.port)
          client.requestHead(upload)
          return client
        }),
      )
      clients.push(...batch)
    }
    if (!(await ground.until(() => arrived() >= holding, ARRIVAL_MS))) {
      const short = `of ${holding} uploads that were to hold a connection each, ${arrived()} reached the upstream`
      throw new NotProvoked(one, short)
    }
    const queued = await Promise.all(Array.from({ length: waiting }, () => openClient(ground.port)))
    for (const client of queued) client.request(requests.plain)
    const waitsNow = async (): Promise<boolean> =>
      (await ground.stages()).filter(stage => stage === 'queue').length >= waiting
    if (waiting > 0 && !(await ground.until(waitsNow, ARRIVAL_MS))) {
      throw new NotProvoked(one, `no queue of ${waiting} came to be`)
    }
    if (waiting > 0) clients.push(...queued)
    return { leave }
  } catch (error) {
    leave()
    throw error
  }
}
