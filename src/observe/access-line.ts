/**
 * The access line: one JSON object per exchange, contract section 5, written by hand. Field order is the contract's.
 *
 * Why not pino for this one: its generic serialiser costs about as much again as the relaying of a small response
 * (stack-facts 24). What makes writing by hand safe is `JsonWriter.quoted`: every value that is not a number or one of our own
 * words goes through it. What the line before has said is kept as bytes.
 */
import { type LogLevel, OUTCOMES, type Outcome, type Party, type Stage } from '../outcome.ts'
import { inQuotes, JsonWriter, MOST_ESCAPED_BYTES, MOST_NUMBER_BYTES } from './json-writer.ts'
import type { Line } from './line-buffer.ts'
import type { ExchangeRecord, WebSocketEnd } from './record.ts'

/** Three digits of a millisecond in a timestamp. */
const MILLISECONDS = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'))

let secondOfPrefix = -1
let prefix = ''

/** ISO-8601, UTC, with milliseconds. Date formats once per second of the clock. */
export function isoTime(timeMs: number): string {
  const second = Math.floor(timeMs / 1000)
  if (second !== secondOfPrefix) {
    secondOfPrefix = second
    prefix = new Date(second * 1000).toISOString().slice(0, -4)
  }
  return `${prefix}${MILLISECONDS[Math.floor(timeMs - second * 1000)]}Z`
}

/** The table's level, but a completed exchange whose upstream answered 5xx is a warning. */
export function accessLevel(record: ExchangeRecord): LogLevel {
  if (record.outcome === 'completed') return record.status >= 500 ? 'warn' : 'info'
  return OUTCOMES[record.outcome].level
}

/** The original error, unwrapped; of the errors of several addresses of a name (an AggregateError), the first speaks. */
function errorField(error: Error): string {
  const inner: unknown = error instanceof AggregateError && error.message === '' ? error.errors[0] : error
  const told = inner instanceof Error ? inner : error
  const code = 'code' in told && typeof told.code === 'string' ? told.code : told.name
  return `,"error":{"code":"${inQuotes(String(code))}","message":"${inQuotes(String(told.message))}"}`
}

function websocketFields({ mode, by, code }: WebSocketEnd): string {
  return `,"websocket":"${mode}","closed_by":"${by}","close_code":${code}`
}

const encoded = (json: string): Buffer => Buffer.from(json)

let beginningMs = -1
let beginningLevel: LogLevel | undefined
let beginningPiece = encoded('')

/** Up to the request id. */
function beginning(level: LogLevel, timeMs: number): Buffer {
  if (timeMs !== beginningMs || level !== beginningLevel) {
    beginningMs = timeMs
    beginningLevel = level
    beginningPiece = encoded(`{"time":"${isoTime(timeMs)}","level":"${level}","msg":"request","request_id":"`)
  }
  return beginningPiece
}

/** From the request id to the method. A text, as the bytes would lie in three places of memory that no other route has (W8). */
function whereabouts({ where, routeName, upstreamName, endpointUrl }: ExchangeRecord): string {
  if (where.text === '' || where.endpoint !== endpointUrl || where.upstream !== upstreamName) {
    where.endpoint = endpointUrl
    where.upstream = upstreamName
    where.text = `","route":"${inQuotes(routeName)}","upstream":"${inQuotes(upstreamName)}","endpoint":"${inQuotes(endpointUrl)}"`
  }
  return where.text
}

let askedMethod = ''
let askedHost = ''
let askedPiece = encoded(',"method":"","host":"","path":"')

/** From the method to the path. Not kept with the route: what each route has for itself is in nobody's cache (W8). */
function asked({ method, host }: ExchangeRecord): Buffer {
  if (host !== askedHost || method !== askedMethod) {
    askedHost = host
    askedMethod = method
    askedPiece = encoded(`,"method":"${inQuotes(method)}","host":"${inQuotes(host)}","path":"`)
  }
  return askedPiece
}

let resultStatus = 0
let resultOutcome: Outcome | undefined
let resultStage: Stage | undefined
let resultParty: Party | undefined
let resultPiece = encoded('')

/** From the client to the bytes received. */
function result({ status, outcome, stage, party }: ExchangeRecord): Buffer {
  if (status !== resultStatus || outcome !== resultOutcome || stage !== resultStage || party !== resultParty) {
    resultStatus = status
    resultOutcome = outcome
    resultStage = stage
    resultParty = party
    const at = stage === undefined ? '' : `,"stage":"${stage}"`
    resultPiece = encoded(`","status":${status},"outcome":"${outcome}"${at},"party":"${party}","rx_bytes":`)
  }
  return resultPiece
}

const PROTO_AND_CLIENT = encoded('","proto":"HTTP/1.1","client":"')
const TX_BYTES = encoded(',"tx_bytes":')
const SMOOTHLY = encoded(',"aborted_write_bytes":0,"reused":true,"attempts":1')
const T_QUEUE = encoded(',"t_queue":')
const T_CONNECT = encoded(',"t_connect":')
const T_REQUEST_WRITE = encoded(',"t_request_write":')
const T_RESPONSE_HEADERS = encoded(',"t_response_headers":')
const T_RESPONSE_BODY = encoded(',"t_response_body":')
const T_TOTAL = encoded(',"t_total":')
const T_CLIENT_ABORT = encoded(',"t_client_abort":')
const END = encoded('}\n')

/** Of all that is no text of others: the words above, the longest names of outcomes and timeouts, 16 numbers. */
const OWN_BYTES = 900 + 16 * MOST_NUMBER_BYTES

const json = new JsonWriter()

/** `label` and the number, or nothing where the stage was not reached (-1) or there is no sane number. */
function duration(label: Buffer, ms: number): void {
  if (!(ms >= 0 && ms < 1e12)) return
  json.piece(label)
  json.decimal(ms)
}

/** The line of an exchange, with its newline. One object serves all lines: each is to be written before the next is asked for. */
class AccessLine implements Line {
  mostBytes = 0
  #record: ExchangeRecord | undefined
  #timeMs = 0
  #error = ''

  of(record: ExchangeRecord, timeMs: number): this {
    this.#record = record
    this.#timeMs = timeMs
    this.#error = record.error === undefined ? '' : errorField(record.error)
    const { requestId, routeName, upstreamName, endpointUrl, method, host, path, proto, clientAddress } = record
    const units =
      requestId.length +
      routeName.length +
      upstreamName.length +
      endpointUrl.length +
      method.length +
      host.length +
      path.length +
      proto.length +
      clientAddress.length +
      this.#error.length
    this.mostBytes = OWN_BYTES + units * MOST_ESCAPED_BYTES
    return this
  }

  writeTo(bytes: Buffer, at: number): number {
    const record = this.#record
    if (record === undefined) return at
    const { proto, times } = record
    json.into(bytes, at)
    json.piece(beginning(accessLevel(record), this.#timeMs))
    json.quoted(record.requestId)
    json.text(whereabouts(record))
    json.piece(asked(record))
    json.quoted(record.path)
    if (proto === 'HTTP/1.1') json.piece(PROTO_AND_CLIENT)
    else json.text(`","proto":"${inQuotes(proto)}","client":"`)
    json.quoted(record.clientAddress)
    json.piece(result(record))
    json.integer(record.rxBytes)
    json.piece(TX_BYTES)
    json.integer(record.txBytes)
    const { abortedWriteBytes, reused, attempts } = record
    if (abortedWriteBytes === 0 && reused && attempts === 1) json.piece(SMOOTHLY)
    else json.text(`,"aborted_write_bytes":${abortedWriteBytes},"reused":${reused},"attempts":${attempts}`)
    duration(T_QUEUE, times.queue)
    duration(T_CONNECT, times.connect)
    duration(T_REQUEST_WRITE, times.requestWrite)
    duration(T_RESPONSE_HEADERS, times.responseHeaders)
    duration(T_RESPONSE_BODY, times.responseBody)
    duration(T_TOTAL, times.total)
    // Which timeout it was, and when the client left: with `on_client_abort: finish` that is not the end.
    if (record.outcome !== 'completed') {
      if (record.timeout !== undefined) json.text(`,"timeout":"${record.timeout}"`)
      duration(T_CLIENT_ABORT, record.clientAbortAge)
    }
    if (record.websocket !== undefined) json.text(websocketFields(record.websocket))
    if (this.#error !== '') json.text(this.#error)
    json.piece(END)
    return json.at
  }

  toString(): string {
    const bytes = Buffer.allocUnsafe(this.mostBytes)
    return bytes.toString('utf8', 0, this.writeTo(bytes, 0))
  }
}

const line = new AccessLine()

/**
 * The line of an exchange, with its newline: to be written, or made a text of, before the next is asked for.
 * @param timeMs wall clock, ms since the epoch: when the exchange ended
 */
export function accessLine(record: ExchangeRecord, timeMs: number): Line {
  return line.of(record, timeMs)
}
