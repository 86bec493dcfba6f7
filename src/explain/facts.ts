/** What is known of one exchange that ended: read off an access line, or taken from the record itself. */
import type { ExchangeRecord, StageTimes } from '../observe/record.ts'
import { OUTCOMES, type Outcome, STAGES, type Stage, TIMEOUTS, type TimeoutName } from '../outcome.ts'

/** The texts hold nothing that a terminal would act on, and are of bounded length: any client may have written them. */
export interface Facts {
  /** ISO-8601; '' where it is not known. */
  readonly time: string
  readonly requestId: string
  readonly route: string
  /** '' where none was chosen. */
  readonly upstream: string
  /** `10.0.0.7:3001`; '' where none was chosen. */
  readonly endpoint: string
  readonly method: string
  readonly host: string
  readonly path: string
  readonly client: string
  /** What was sent, or 499 where no status was. */
  readonly status: number
  readonly outcome: Outcome
  readonly stage: Stage | undefined
  readonly party: string
  /** Body bytes from the client, and to it. */
  readonly rxBytes: number
  readonly txBytes: number
  readonly attempts: number
  /** Milliseconds; -1 where the stage was not reached. */
  readonly times: StageTimes
  /** Age in ms when the client left; -1: it did not, or nobody knows. */
  readonly clientAbortAge: number
  /** The timeout that ended it. */
  readonly timeout: TimeoutName | undefined
  readonly error: { readonly code: string; readonly message: string } | undefined
}

const LONGEST_TEXT = 200

/** Controls, and the marks that reverse the direction of text: as JSON would escape them. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** Of bounded length, and nothing that a terminal or a browser's text direction would act on. */
export function plain(text: string): string {
  const clipped = text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT - 1)}…` : text
  return clipped.replace(UNSAFE, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/**
 * The facts of an access line; null where `line` is none. What stands before the JSON, as journald, compose and kubectl put
 * it there, is passed over.
 */
export function factsOfLine(line: string): Facts | null {
  const start = line.indexOf('{')
  if (start === -1) return null
  let parsed: unknown
  try {
    parsed = JSON.parse(line.slice(start))
  } catch {
    return null
  }
  if (typeof parsed !== 'object' || parsed === null) return null
  const fields = parsed as Readonly<Record<string, unknown>>
  const outcome = fields['outcome']
  if (fields['msg'] !== 'request' || typeof outcome !== 'string' || !Object.hasOwn(OUTCOMES, outcome)) return null
  const text = (key: string): string => (typeof fields[key] === 'string' ? plain(fields[key]) : '')
  const number = (key: string, without: number): number => {
    const value = fields[key]
    return typeof value === 'number' && value >= 0 ? value : without
  }
  const error = fields['error'] as { readonly code?: unknown; readonly message?: unknown } | null | undefined
  const times: StageTimes = {
    queue: number('t_queue', -1),
    connect: number('t_connect', -1),
    requestWrite: number('t_request_write', -1),
    responseHeaders: number('t_response_headers', -1),
    responseBody: number('t_response_body', -1),
    total: number('t_total', -1),
  }
  return {
    time: text('time'),
    requestId: text('request_id'),
    route: text('route') || '_none',
    upstream: text('upstream'),
    endpoint: authorityOf(text('endpoint')),
    method: text('method'),
    host: text('host'),
    path: text('path'),
    client: text('client'),
    status: number('status', 0),
    outcome: outcome as Outcome, // one of the table's keys, as was just seen
    stage: STAGES.find(stage => stage === fields['stage']),
    party: text('party'),
    rxBytes: number('rx_bytes', 0),
    txBytes: number('tx_bytes', 0),
    attempts: number('attempts', 0),
    times,
    // Lines of 0.1.0 have no age of their own: the exchange ended when the client left, unless its work went on.
    clientAbortAge: number('t_client_abort', outcome === 'client_abort' ? times.total : -1),
    timeout: TIMEOUTS.find(timeout => timeout === fields['timeout']),
    error:
      typeof error === 'object' && error !== null
        ? { code: plain(String(error.code ?? '')), message: plain(String(error.message ?? '')) }
        : undefined,
  }
}

/** @param time ISO-8601, when the exchange ended */
export function factsOfRecord(record: ExchangeRecord, time: string): Facts {
  const { error } = record
  const inner: unknown = error instanceof AggregateError && error.message === '' ? error.errors[0] : error
  const told = inner instanceof Error ? inner : error
  const code = told !== undefined && 'code' in told && typeof told.code === 'string' ? told.code : told?.name
  return {
    time,
    requestId: plain(record.requestId),
    route: record.routeName,
    upstream: record.upstreamName,
    endpoint: authorityOf(record.endpointUrl),
    method: plain(record.method),
    host: plain(record.host),
    path: plain(record.path),
    client: record.clientAddress,
    status: record.status,
    outcome: record.outcome,
    stage: record.stage,
    party: record.party,
    rxBytes: record.rxBytes,
    txBytes: record.txBytes,
    attempts: record.attempts,
    times: record.times,
    clientAbortAge: record.clientAbortAge,
    timeout: record.timeout,
    error: told === undefined ? undefined : { code: plain(code ?? ''), message: plain(told.message) },
  }
}

function authorityOf(url: string): string {
  return url.replace(/^https?:\/\//i, '')
}
