/** The record that an upgrade leaves: that of an exchange, and where it came to a session, how that ended. */
import type { ClientSide } from '../exchange/client-side.ts'
import { type Ending, report } from '../exchange/report.ts'
import type { BoundRoute } from '../exchange/route.ts'
import type { Timeline } from '../exchange/timeline.ts'
import type { UpstreamSide } from '../exchange/upstream-side.ts'
import type { ExchangeRecord } from '../observe/record.ts'
import type { Session, SessionEnding } from './session.ts'

export interface Upgraded {
  readonly route: BoundRoute
  readonly client: ClientSide
  readonly upstream: UpstreamSide
  readonly timeline: Timeline
  readonly session: Session | undefined
  readonly requestId: string
  readonly path: string
  readonly clientAddress: string
  /** The upstream answered something else than 101. */
  readonly refused: boolean
}

export function upgradeRecord(
  one: Upgraded,
  ending: Ending,
  ended: SessionEnding | undefined,
  at: number,
): ExchangeRecord {
  const { session, route } = one
  const request = { ...one, rxBytes: session?.bytesIn ?? 0 }
  const record = report(route, one.client, one.upstream, one.timeline, request, ending, at)
  if (ended === undefined) {
    // The gateway's own 426 is about the request; the upstream's refusal is the upstream's word.
    return record.outcome === 'upgrade_failed' && one.refused ? { ...record, party: 'upstream' } : record
  }
  return {
    ...record,
    stage: ended.outcome === 'tunnel_closed' ? undefined : 'tunnel',
    party: ended.party,
    endpointUrl: session?.endpointUrl ?? record.endpointUrl,
    attempts: session?.attempts ?? record.attempts,
    txBytes: session?.bytesOut ?? 0,
    // Hours in a tunnel are no time that a response took.
    times: { ...record.times, responseBody: -1 },
    websocket: { mode: route.websocket?.config.mode ?? 'tunnel', by: ended.by, code: ended.code },
  }
}
