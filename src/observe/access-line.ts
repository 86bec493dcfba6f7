/**
 * The access line: one JSON object per exchange, contract section 5, built by hand. Field order is the contract's.
 *
 * Why not pino for this one: its generic serialiser costs about as much again as the relaying of a small response
 * (stack-facts 24). What makes building by hand safe is `inQuotes`: every value that is not a number or one of our own
 * words goes through it. Each piece of a text costs V8 an object, and copying it one step: what the line before has said is
 * kept whole, and quotation marks stand with what is around them (of 9 KB of garbage a request, 2.4 were the line's pieces).
 */
import { type LogLevel, OUTCOMES, type Outcome, type Party, type Stage } from '../outcome.ts'
import type { ExchangeRecord, WebSocketEnd } from './record.ts'

/** Anything beside printable ASCII without `"` and `\`. */
const NEEDS_CARE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/

/**
 * What JSON.stringify leaves as it is although a line reader, a terminal or a script engine may act on it: DEL and the
 * C1 controls (U+009B begins an escape sequence), U+2028 and U+2029, the marks that reverse the direction of text, and
 * the byte order mark. Lone surrogates it escapes by itself (well-formed JSON.stringify, ES2019).
 */
const UNSAFE_IN_JSON = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

/** What stands between the quotation marks of a JSON string on one line, whatever the text. */
export function inQuotes(text: string): string {
  return NEEDS_CARE.test(text) ? JSON.stringify(text).slice(1, -1).replace(UNSAFE_IN_JSON, escaped) : text
}

/** '' | '.5' | '.25' | '.001': the decimals of a number of thousandths, without trailing zeros. */
const DECIMALS = Array.from({ length: 1000 }, (_, n) =>
  n === 0 ? '' : (n / 1000).toFixed(3).slice(1).replace(/0+$/, ''),
)

/** Three digits of a millisecond in a timestamp. */
const MILLISECONDS = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'))

/** `label` and the number, or nothing where the stage was not reached (-1) or there is no sane number. */
function duration(label: string, ms: number): string {
  if (!(ms >= 0 && ms < 1e12)) return ''
  const us = Math.round(ms * 1000)
  const whole = Math.floor(us / 1000)
  return label + whole + (DECIMALS[us - whole * 1000] ?? '')
}

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

/** Which timeout it was, and when the client left: with `on_client_abort: finish` that is not the end. */
function failureFields({ timeout, clientAbortAge }: ExchangeRecord): string {
  return (timeout === undefined ? '' : `,"timeout":"${timeout}"`) + duration(',"t_client_abort":', clientAbortAge)
}

function websocketFields({ mode, by, code }: WebSocketEnd): string {
  return `,"websocket":"${mode}","closed_by":"${by}","close_code":${code}`
}

let beginningMs = -1
let beginningLevel: LogLevel | undefined
let beginningText = ''

/** Up to the request id. */
function beginning(level: LogLevel, timeMs: number): string {
  if (timeMs !== beginningMs || level !== beginningLevel) {
    beginningMs = timeMs
    beginningLevel = level
    beginningText = `{"time":"${isoTime(timeMs)}","level":"${level}","msg":"request","request_id":"`
  }
  return beginningText
}

/** From the request id to the method. */
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
let askedText = ',"method":"","host":"","path":"'

/** From the method to the path. Not kept with the route: what each route has for itself is in nobody's cache (W8). */
function asked({ method, host }: ExchangeRecord): string {
  if (host !== askedHost || method !== askedMethod) {
    askedHost = host
    askedMethod = method
    askedText = `,"method":"${inQuotes(method)}","host":"${inQuotes(host)}","path":"`
  }
  return askedText
}

const PROTO_AND_CLIENT = '","proto":"HTTP/1.1","client":"'

let resultStatus = 0
let resultOutcome: Outcome | undefined
let resultStage: Stage | undefined
let resultParty: Party | undefined
let resultText = ''

/** From the client to the bytes received. */
function result({ status, outcome, stage, party }: ExchangeRecord): string {
  if (status !== resultStatus || outcome !== resultOutcome || stage !== resultStage || party !== resultParty) {
    resultStatus = status
    resultOutcome = outcome
    resultStage = stage
    resultParty = party
    const at = stage === undefined ? '' : `,"stage":"${stage}"`
    resultText = `","status":${status},"outcome":"${outcome}"${at},"party":"${party}","rx_bytes":`
  }
  return resultText
}

const SMOOTHLY = ',"aborted_write_bytes":0,"reused":true,"attempts":1'

/** From the bytes sent to the times. */
function smoothness({ abortedWriteBytes, reused, attempts }: ExchangeRecord): string {
  if (abortedWriteBytes === 0 && reused && attempts === 1) return SMOOTHLY
  return `,"aborted_write_bytes":${abortedWriteBytes},"reused":${reused},"attempts":${attempts}`
}

/**
 * The line of an exchange, with its newline.
 * @param timeMs wall clock, ms since the epoch: when the exchange ended
 */
export function accessLine(record: ExchangeRecord, timeMs: number): string {
  const { times, error, proto } = record
  return (
    beginning(accessLevel(record), timeMs) +
    inQuotes(record.requestId) +
    whereabouts(record) +
    asked(record) +
    inQuotes(record.path) +
    (proto === 'HTTP/1.1' ? PROTO_AND_CLIENT : `","proto":"${inQuotes(proto)}","client":"`) +
    inQuotes(record.clientAddress) +
    result(record) +
    record.rxBytes +
    ',"tx_bytes":' +
    record.txBytes +
    smoothness(record) +
    duration(',"t_queue":', times.queue) +
    duration(',"t_connect":', times.connect) +
    duration(',"t_request_write":', times.requestWrite) +
    duration(',"t_response_headers":', times.responseHeaders) +
    duration(',"t_response_body":', times.responseBody) +
    duration(',"t_total":', times.total) +
    (record.outcome === 'completed' ? '' : failureFields(record)) +
    (record.websocket === undefined ? '' : websocketFields(record.websocket)) +
    (error === undefined ? '' : errorField(error)) +
    '}\n'
  )
}
