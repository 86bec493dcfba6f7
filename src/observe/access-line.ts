/**
 * The access line: one JSON object per exchange, contract section 5, built by hand. Field order is the contract's.
 *
 * Why not pino for this one: its generic serialiser costs about as much again as the relaying of a small response
 * (stack-facts 24). What makes building by hand safe is `quoted`: every value that is not a number or one of our own
 * words goes through it.
 */
import { type LogLevel, OUTCOMES } from '../outcome.ts'
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

/** A JSON string literal on one line, whatever the text. */
export function quoted(text: string): string {
  return NEEDS_CARE.test(text) ? JSON.stringify(text).replace(UNSAFE_IN_JSON, escaped) : `"${text}"`
}

/** '' | '.5' | '.25' | '.001': the decimals of a number of thousandths, without trailing zeros. */
const DECIMALS = Array.from({ length: 1000 }, (_, n) =>
  n === 0 ? '' : (n / 1000).toFixed(3).slice(1).replace(/0+$/, ''),
)

/** Three digits of a millisecond in a timestamp. */
const MILLISECONDS = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'))

/** `,"name":1.234`, or nothing where the stage was not reached (-1) or there is no sane number. */
function duration(name: string, ms: number): string {
  if (!(ms >= 0 && ms < 1e12)) return ''
  const us = Math.round(ms * 1000)
  const whole = Math.floor(us / 1000)
  return `,"${name}":${whole}${DECIMALS[us - whole * 1000] ?? ''}`
}

let secondOfPrefix = -1
let prefix = ''
let latestMs = -1
let latest = ''

/** ISO-8601, UTC, with milliseconds. Date formats once per second of the clock. */
export function isoTime(timeMs: number): string {
  if (timeMs === latestMs) return latest
  const second = Math.floor(timeMs / 1000)
  if (second !== secondOfPrefix) {
    secondOfPrefix = second
    prefix = new Date(second * 1000).toISOString().slice(0, -4)
  }
  latestMs = timeMs
  latest = `${prefix}${MILLISECONDS[Math.floor(timeMs - second * 1000)]}Z`
  return latest
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
  return `,"error":{"code":${quoted(String(code))},"message":${quoted(String(told.message))}}`
}

/** Which timeout it was, and when the client left: with `on_client_abort: finish` that is not the end. */
function failureFields({ timeout, clientAbortAge }: ExchangeRecord): string {
  return (timeout === undefined ? '' : `,"timeout":"${timeout}"`) + duration('t_client_abort', clientAbortAge)
}

function websocketFields({ mode, by, code }: WebSocketEnd): string {
  return `,"websocket":"${mode}","closed_by":"${by}","close_code":${code}`
}

function placeField({ where, routeName, upstreamName, endpointUrl }: ExchangeRecord): string {
  if (where.text === '' || where.upstream !== upstreamName || where.endpoint !== endpointUrl) {
    where.upstream = upstreamName
    where.endpoint = endpointUrl
    where.text = `,"route":${quoted(routeName)},"upstream":${quoted(upstreamName)},"endpoint":${quoted(endpointUrl)}`
  }
  return where.text
}

/** The host that the latest line has named, and how it stands there. */
let hostOf = ''
let host = '""'

function hostField(named: string): string {
  if (named !== hostOf) {
    hostOf = named
    host = quoted(named)
  }
  return host
}

/**
 * The line of an exchange, with its newline.
 * @param timeMs wall clock, ms since the epoch: when the exchange ended
 */
export function accessLine(record: ExchangeRecord, timeMs: number): string {
  const { times, stage, error } = record
  return (
    `{"time":"${isoTime(timeMs)}","level":"${accessLevel(record)}","msg":"request"` +
    `,"request_id":${quoted(record.requestId)}${placeField(record)}` +
    `,"method":${quoted(record.method)},"host":${hostField(record.host)},"path":${quoted(record.path)}` +
    `,"proto":${quoted(record.proto)},"client":${quoted(record.clientAddress)}` +
    `,"status":${record.status},"outcome":"${record.outcome}"${stage === undefined ? '' : `,"stage":"${stage}"`}` +
    `,"party":"${record.party}","rx_bytes":${record.rxBytes},"tx_bytes":${record.txBytes}` +
    `,"aborted_write_bytes":${record.abortedWriteBytes},"reused":${record.reused},"attempts":${record.attempts}` +
    duration('t_queue', times.queue) +
    duration('t_connect', times.connect) +
    duration('t_request_write', times.requestWrite) +
    duration('t_response_headers', times.responseHeaders) +
    duration('t_response_body', times.responseBody) +
    duration('t_total', times.total) +
    (record.outcome === 'completed' ? '' : failureFields(record)) +
    (record.websocket === undefined ? '' : websocketFields(record.websocket)) +
    (error === undefined ? '' : errorField(error)) +
    '}\n'
  )
}
