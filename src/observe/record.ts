/** What an exchange leaves behind: the facts that metrics and the access line are made from. */
import type { Outcome, Party, Stage, TimeoutName } from '../outcome.ts'

/**
 * The durations of an exchange in milliseconds, by stage; -1 where the stage was not reached.
 * `connect` is DNS, TCP and TLS together; `responseBody` includes the time the client made us wait.
 */
export interface StageTimes {
  readonly queue: number
  readonly connect: number
  readonly requestWrite: number
  readonly responseHeaders: number
  readonly responseBody: number
  readonly total: number
}

/** What the latest access line of a route has said of where the request went: mostly the next says the same. */
export class Whereabouts {
  upstream = ''
  endpoint = ''
  /** As it stands in the line; '': there was none. */
  text = ''
}

/**
 * One finished exchange. The exchange hands itself over in this form exactly once, synchronously; an observer reads
 * what it needs and keeps no reference.
 */
export interface ExchangeRecord {
  readonly requestId: string
  /** The route's name; `_none` where no route was found or the request could not be read. */
  readonly routeName: string
  /** The upstream's name; '' where none was chosen. */
  readonly upstreamName: string
  /** The endpoint's URL; '' where none was chosen. */
  readonly endpointUrl: string
  /** The route's. */
  readonly where: Whereabouts
  /** '' where the request line could not be read. */
  readonly method: string
  readonly host: string
  /** Without the query string. */
  readonly path: string
  /** `HTTP/1.1` */
  readonly proto: string
  /** The client's address; through trusted proxies, the original client's. */
  readonly clientAddress: string
  /** What was sent, or 499 where no status was. */
  readonly status: number
  readonly outcome: Outcome
  /** undefined for `completed`. */
  readonly stage: Stage | undefined
  readonly party: Party
  /** Body bytes received from the client. */
  readonly rxBytes: number
  /** Body bytes handed to the client's socket. */
  readonly txBytes: number
  /** Writes, and their bytes, that met a client who was gone, with bytes received for that client and discarded. */
  readonly abortedWrites: number
  readonly abortedWriteBytes: number
  /** The upstream connection had served a request before. */
  readonly reused: boolean
  /** 0: no upstream connection was asked for; 2: a stale connection was replayed. */
  readonly attempts: number
  /** Computed once, at the end. */
  readonly times: StageTimes
  /** Age in ms when the client left; negative: it did not. */
  readonly clientAbortAge: number
  /** The timeout that ended the exchange, and by how many ms it fired late. */
  readonly timeout: TimeoutName | undefined
  readonly timeoutOverrun: number
  /** The original error of a failure, where there was one. */
  readonly error: Error | undefined
  /** How a WebSocket ended; absent where there was none. */
  readonly websocket?: WebSocketEnd
}

/** Who ended a WebSocket: sent the first close frame or, where there was none, ended its side first. */
export type ClosedBy = 'client' | 'upstream' | 'gateway'

export interface WebSocketEnd {
  readonly mode: 'tunnel' | 'relay'
  readonly by: ClosedBy
  /** RFC 6455 section 7.4: of the first close frame; 1005: it had none; 1006: there was no close frame. */
  readonly code: number
}
