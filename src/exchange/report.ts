/** The record that an exchange leaves, put together once, when it is over. */
import type { ExchangeRecord } from '../observe/record.ts'
import { CLIENT_CLOSED_REQUEST, OUTCOMES, type Outcome, type Party, type Stage, type TimeoutName } from '../outcome.ts'
import type { ClientSide } from './client-side.ts'
import type { BoundRoute } from './route.ts'
import type { Timeline } from './timeline.ts'
import type { UpstreamSide } from './upstream-side.ts'

/** How an exchange ended. */
export interface Ending {
  readonly outcome: Outcome
  readonly stage: Stage | undefined
  readonly timeout: TimeoutName | undefined
  /** `NEVER` without a timeout. */
  readonly overrunMs: number
  readonly error: Error | undefined
  /** Age in ms when the client left; `NEVER`: it did not. */
  readonly clientAbortAge: number
}

export function report(
  route: BoundRoute,
  client: ClientSide,
  upstream: UpstreamSide,
  timeline: Timeline,
  request: {
    readonly requestId: string
    readonly path: string
    readonly clientAddress: string
    readonly rxBytes: number
  },
  ending: Ending,
  endedAt: number,
): ExchangeRecord {
  const { request: asked } = client
  const { outcome, stage } = ending
  return {
    requestId: request.requestId,
    routeName: route.name,
    upstreamName: route.upstreamName,
    where: route.where,
    endpointUrl: upstream.connection?.endpoint.config.url ?? '',
    method: asked.method,
    host: asked.host,
    path: request.path,
    proto: asked.minorVersion === 0 ? 'HTTP/1.0' : 'HTTP/1.1',
    clientAddress: request.clientAddress,
    status: client.statusSent === 0 ? CLIENT_CLOSED_REQUEST : client.statusSent,
    outcome,
    stage,
    party: partyOf(outcome, stage),
    rxBytes: request.rxBytes,
    txBytes: client.txBytes,
    abortedWrites: client.abortedWrites,
    abortedWriteBytes: client.abortedWriteBytes,
    reused: upstream.reused,
    attempts: upstream.attempts,
    times: timeline.times(endedAt),
    clientAbortAge: ending.clientAbortAge,
    timeout: ending.timeout,
    timeoutOverrun: ending.overrunMs,
    error: ending.error,
  }
}

/** A deadline covers the whole exchange: whose fault it was that it passed shows in where the exchange was. */
function partyOf(outcome: Outcome, stage: Stage | undefined): Party {
  if (outcome !== 'deadline_exceeded') return OUTCOMES[outcome].party
  if (stage === 'queue') return 'gateway'
  return stage === 'client_write' ? 'client' : 'upstream'
}
