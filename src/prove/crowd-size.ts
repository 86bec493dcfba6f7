/**
 * How full a gateway must be before a request waits, or is refused. Filled as configured where that is possible and
 * within reason; else the pool is made smaller, or `in_flight` larger, for this one case, and the report says so.
 */
import type { Crowd, ProveCase, Subject } from './case.ts'
import type { Adjustments } from './rewire.ts'

/** Connections that one case opens to be in the way of its own request, at most. */
export const MOST_IN_THE_WAY = 256
/** Exchanges that fill a queue: they have its timeout to arrive within. */
const MOST_QUEUED = 16
/** The case's own request, and one that comes while it is there. */
const OWN = 2

export function crowdFor(
  { config, route }: Subject,
  crowd: Crowd,
  lastsMs: number,
): Pick<ProveCase, 'crowd' | 'adjust' | 'notes'> {
  const upstream = config.upstreams.find(({ name }) => name === route.upstream)
  if (upstream === undefined) return { crowd, notes: [] }
  const { pool, endpoints } = upstream
  const notes: string[] = []
  const adjust: { -readonly [K in keyof Adjustments]: Adjustments[K] } = {}
  const configured = pool.maxConnections * endpoints.length
  const inFlight = route.limits.inFlight.value
  const clients = config.listen.maxConnections - OWN
  let slots = configured
  if (crowd === 'in_flight') {
    const why = inFlight > MOST_IN_THE_WAY ? 'many' : inFlight > configured ? 'slots' : ''
    if (why !== '' || inFlight > clients) {
      adjust.inFlight = 1
      notes.push(
        why === 'slots'
          ? `with in_flight 1: of ${inFlight}, all but ${configured} would wait for a connection`
          : `with in_flight 1 for ${inFlight}: that many at once are not opened`,
      )
    }
  } else {
    const queue = crowd === 'queue' ? Math.min(pool.queue, MOST_QUEUED) : 0
    if (crowd === 'queue' && queue < pool.queue) {
      adjust.queue = 1
      notes.push(`with a queue of 1 for ${pool.queue}`)
    }
    const waiting = adjust.queue ?? queue
    if (slots > MOST_IN_THE_WAY || slots + waiting > clients) {
      slots = 1
      notes.push(`with 1 connection for ${configured}: that many are not opened`)
    }
    if (slots + waiting + OWN > inFlight) {
      slots = 1
      if (configured > 1 && notes.length === 0)
        notes.push(`with 1 connection for ${configured}: limits.in_flight ${inFlight} is met first`)
      if (slots + waiting + OWN > inFlight) {
        adjust.inFlight = slots + waiting + OWN
        notes.push(`with in_flight ${adjust.inFlight} for ${inFlight}: this route alone never waits`)
      }
    }
    if (slots !== configured) adjust.slots = slots
  }
  const bytes = uploadBytes(config.listen.minBodyRate?.bytesPerSecond ?? 0, lastsMs)
  if (bytes > route.limits.bodyBytes.value) {
    adjust.bodyBytes = bytes
    notes.push('limits.body raised: the uploads in the way last longer than it allows')
  }
  return { crowd, adjust, notes }
}

/** What an upload of `lastsMs` and some seconds sends at twice the rate it must have. */
export function uploadBytes(bytesPerSecond: number, lastsMs: number): number {
  return 1024 + Math.ceil((2 * bytesPerSecond * (lastsMs + 10_000)) / 1000)
}
