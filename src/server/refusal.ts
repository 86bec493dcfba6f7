/** Exchanges that end before they have a route: unreadable, unroutable. They leave a record like any other. */
import type { ClientConnection, ConnectionUser } from '../exchange/client-connection.ts'
import { type ClientEvents, ClientSide } from '../exchange/client-side.ts'
import { problem } from '../exchange/problem.ts'
import type { Shared } from '../exchange/route.ts'
import { NO_FIELDS } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import { NEVER } from '../never.ts'
import { type ExchangeRecord, Whereabouts } from '../observe/record.ts'
import { NO_ROUTE, type RouteMetrics } from '../observe/route-metrics.ts'
import { OUTCOMES, type Outcome, type Stage, type TimeoutName } from '../outcome.ts'
import { isWebSocketUpgrade } from '../websocket/switching.ts'

export interface Refusal {
  readonly outcome: Outcome
  readonly stage: Stage
  /** Where it is not the outcome's own. */
  readonly status?: number
  readonly timeout?: TimeoutName
  /** ms */
  readonly overrun?: number
  readonly error?: Error
  /** Since the first we knew of it, ms. */
  readonly age?: number
  readonly allow?: readonly string[]
  /** The connection cannot be used any more. */
  readonly close?: boolean
}

export const NO_SUCH_PATH: Refusal = { outcome: 'no_route', stage: 'route' }

/** A request that was read, and cannot be forwarded all the same. Nothing that comes after it is believed. */
export function malformed(why: string): Refusal {
  const error = Object.assign(new Error(why), { code: 'HOPGATE_MALFORMED' })
  return { outcome: 'bad_request', stage: 'request_headers', error, close: true }
}

const WHERE = new Whereabouts()
const UNREACHED = -1

/** Of what could not be read, nothing is known. */
const UNREAD: ClientHead = {
  method: '',
  target: '',
  minorVersion: 1,
  fields: NO_FIELDS,
  connection: '',
  host: '',
  contentLength: -1,
  chunked: false,
  hasBody: false,
  keepAlive: true,
  expectsContinue: false,
  upgrade: '',
}

/** On a connection whose request gets an answer of the gateway's own, and nothing else. */
export const ANSWERED: ConnectionUser & ClientEvents = {
  bodyData: () => {},
  bodyRead: () => {},
  bodyEnd: () => {},
  clientMalformed: () => {},
  fail: () => {},
  clientEnded: () => {},
  clientClosed: () => {},
  clientGone: () => {},
  clientDelivered: () => {},
  clientBlocked: () => {},
  clientDrained: () => {},
}

export class Refuser {
  readonly #shared: Shared
  readonly #metrics: RouteMetrics

  constructor(shared: Shared, metrics: RouteMetrics) {
    this.#shared = shared
    this.#metrics = metrics
  }

  /** @param request undefined: what came could not be read as one */
  refuse(connection: ClientConnection, why: Refusal, request?: ClientHead): void {
    const requestId = this.#shared.newId()
    const reply = problem(why.outcome, why.status ?? OUTCOMES[why.outcome].status, why.stage, requestId)
    if (why.allow !== undefined) reply.headers.push('Allow', why.allow.join(', '))
    const client = new ClientSide(request ?? UNREAD, connection, ANSWERED)
    // What follows a request for WebSocket is no HTTP, whatever it is answered.
    const noHttpBehind = request === undefined || isWebSocketUpgrade(request)
    if (why.close === true || noHttpBehind || this.#shared.closing) client.closeAfterwards()
    connection.busy(ANSWERED)
    client.reply(reply)
    connection.over(ANSWERED)
    this.#record(connection, why, reply.status, reply.body.length, requestId, request)
  }

  #record(
    connection: ClientConnection,
    why: Refusal,
    status: number,
    txBytes: number,
    requestId: string,
    request: ClientHead | undefined,
  ): void {
    const { requests } = this.#shared.ledger
    requests.opened++
    const target = request?.target ?? ''
    const query = target.indexOf('?')
    const record: ExchangeRecord = {
      requestId,
      method: request?.method ?? '',
      host: request?.host ?? '',
      path: query === -1 ? target : target.slice(0, query),
      proto: request === undefined ? '' : `HTTP/1.${request.minorVersion}`,
      clientAddress: connection.peer.address,
      routeName: NO_ROUTE,
      upstreamName: '',
      where: WHERE,
      endpointUrl: '',
      status,
      outcome: why.outcome,
      stage: why.stage,
      party: OUTCOMES[why.outcome].party,
      rxBytes: 0,
      txBytes,
      abortedWrites: 0,
      abortedWriteBytes: 0,
      reused: false,
      attempts: 0,
      times: {
        queue: UNREACHED,
        connect: UNREACHED,
        requestWrite: UNREACHED,
        responseHeaders: UNREACHED,
        responseBody: UNREACHED,
        total: why.age ?? 0,
      },
      clientAbortAge: NEVER,
      timeout: why.timeout,
      timeoutOverrun: why.overrun ?? NEVER,
      error: why.error,
    }
    requests.closed++
    this.#metrics.finished(record)
    this.#shared.finished(record)
  }
}
