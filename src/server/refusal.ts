/** Exchanges that end before they have a route: unreadable, unroutable. They leave a record like any other. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { ClientConnection, ConnectionUser } from '../exchange/client-connection.ts'
import { linger, lingerOnClose } from '../exchange/linger.ts'
import { problem } from '../exchange/problem.ts'
import type { Shared } from '../exchange/route.ts'
import { type ExchangeRecord, Whereabouts } from '../observe/record.ts'
import { NO_ROUTE, type RouteMetrics } from '../observe/route-metrics.ts'
import { OUTCOMES, type Outcome, type Stage, type TimeoutName } from '../outcome.ts'

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

const WHERE = new Whereabouts()

/** Holds the connection while a refusal is written: pipelined requests wait for their turn, as behind an exchange. */
const REFUSED: ConnectionUser = {
  clientEnded: () => {},
  clientMalformed: () => false,
}

export class Refuser {
  readonly #shared: Shared
  readonly #metrics: RouteMetrics

  constructor(shared: Shared, metrics: RouteMetrics) {
    this.#shared = shared
    this.#metrics = metrics
  }

  /** Answers a request that was read. */
  refuse(req: IncomingMessage, res: ServerResponse, connection: ClientConnection, why: Refusal): void {
    const requestId = this.#shared.newId()
    const reply = problem(why.outcome, why.status ?? OUTCOMES[why.outcome].status, why.stage, requestId)
    if (why.allow !== undefined) reply.headers.push('Allow', why.allow.join(', '))
    const bodyComing = req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
    const unread = bodyComing && !req.complete
    connection.busy(REFUSED)
    if (why.close === true || unread || this.#shared.closing) {
      connection.closing = true
      connection.answered = true
      reply.headers.push('Connection', 'close')
      lingerOnClose(connection.socket)
    }
    res.writeHead(reply.status, reply.headers)
    res.end(req.method === 'HEAD' ? undefined : reply.body)
    res.on('close', () => connection.idle(REFUSED))
    const query = (req.url ?? '').indexOf('?')
    this.#record(why, reply.status, reply.body.length, requestId, {
      method: req.method ?? '',
      host: req.headers.host ?? '',
      path: query === -1 ? (req.url ?? '') : (req.url ?? '').slice(0, query),
      proto: `HTTP/${req.httpVersion}`,
      clientAddress: connection.peer.address,
    })
  }

  /** Answers, on the bare socket, a request that could not be read. */
  refuseRaw(connection: ClientConnection, why: Refusal, method = '', path = ''): void {
    const { socket } = connection
    if (connection.answered) return
    connection.answered = true
    const requestId = this.#shared.newId()
    const reply = problem(why.outcome, why.status ?? OUTCOMES[why.outcome].status, why.stage, requestId)
    if (why.allow !== undefined) reply.headers.push('Allow', why.allow.join(', '))
    let head = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? 'Error'}\r\n`
    for (let i = 0; i < reply.headers.length; i += 2) head += `${reply.headers[i]}: ${reply.headers[i + 1]}\r\n`
    socket.write(`${head}Connection: close\r\n\r\n`)
    socket.write(reply.body)
    linger(socket)
    this.#record(why, reply.status, reply.body.length, requestId, {
      method,
      host: '',
      path,
      proto: '',
      clientAddress: connection.peer.address,
    })
  }

  #record(
    why: Refusal,
    status: number,
    txBytes: number,
    requestId: string,
    request: Pick<ExchangeRecord, 'method' | 'host' | 'path' | 'proto' | 'clientAddress'>,
  ): void {
    const { requests } = this.#shared.ledger
    requests.opened++
    const unreached = -1
    const record: ExchangeRecord = {
      ...request,
      requestId,
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
        queue: unreached,
        connect: unreached,
        requestWrite: unreached,
        responseHeaders: unreached,
        responseBody: unreached,
        total: why.age ?? 0,
      },
      clientAbortAge: -1,
      timeout: why.timeout,
      timeoutOverrun: why.overrun ?? 0,
      error: why.error,
    }
    requests.closed++
    this.#metrics.finished(record)
    this.#shared.finished(record)
  }
}
