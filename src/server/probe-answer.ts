/** The route of the self-probe: what every other request goes through, up to where an upstream would be asked. */
import type { ClientConnection } from '../exchange/client-connection.ts'
import { ClientSide } from '../exchange/client-side.ts'
import type { Shared } from '../exchange/route.ts'
import type { ClientHead } from '../http1/request-head.ts'
import { NEVER } from '../never.ts'
import { type ExchangeRecord, Whereabouts } from '../observe/record.ts'
import type { RouteMetrics } from '../observe/route-metrics.ts'
import { ANSWERED } from './refusal.ts'

const NOT_REACHED = -1
const WHERE = new Whereabouts()

/** @param logged whether it gets an access line: the path in it is not the true one, which is a secret */
export function answerProbe(
  request: ClientHead,
  connection: ClientConnection,
  metrics: RouteMetrics,
  shared: Shared,
  logged: boolean,
): void {
  const began = performance.now()
  const requestId = shared.newId()
  shared.ledger.requests.opened++
  const client = new ClientSide(request, connection, ANSWERED)
  connection.busy(ANSWERED)
  client.respond({
    status: 204,
    statusText: '',
    fields: `X-Request-Id: ${requestId}\r\n`,
    contentLength: -1,
    dated: false,
  })
  client.flush()
  connection.over(ANSWERED)
  const record: ExchangeRecord = {
    requestId,
    routeName: metrics.name,
    upstreamName: '',
    where: WHERE,
    endpointUrl: '',
    method: request.method,
    host: request.host,
    path: '/_selfprobe',
    proto: 'HTTP/1.1',
    clientAddress: connection.peer.address,
    status: 204,
    outcome: 'completed',
    stage: undefined,
    party: 'none',
    rxBytes: 0,
    txBytes: 0,
    abortedWrites: 0,
    abortedWriteBytes: 0,
    reused: false,
    attempts: 0,
    times: {
      queue: NOT_REACHED,
      connect: NOT_REACHED,
      requestWrite: NOT_REACHED,
      responseHeaders: NOT_REACHED,
      responseBody: NOT_REACHED,
      total: performance.now() - began,
    },
    clientAbortAge: NEVER,
    timeout: undefined,
    timeoutOverrun: NEVER,
    error: undefined,
  }
  shared.ledger.requests.closed++
  metrics.finished(record)
  if (logged) shared.finished(record)
}
