/**
 * Translates what Node and OpenSSL report, and what the connection found, into outcomes. The only place that knows foreign error codes; each
 * branch says what forces it. Codes are compared, never message texts.
 */

import { NOT_HTTP } from '../http1/fields.ts'
import type { Outcome } from '../outcome.ts'
import { ENDED } from '../upstream/connection.ts'

/** What the upstream side knows when an error arrives. */
export interface FailureContext {
  /** DNS, TCP or TLS was under way. */
  readonly dialling: 'dns' | 'connect' | 'tls' | undefined
  /** The connection had served a request before. */
  readonly reused: boolean
  /** A byte of the response was seen. */
  readonly responseStarted: boolean
  /** The final response headers were seen. */
  readonly headersReceived: boolean
}

/** The process or the machine is out of something: nobody's fault but ours. */
const EXHAUSTED = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

const UNREACHABLE = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EACCES', 'EPERM', 'EINVAL'])

/** The connection broke off, by RST or as far as our writes were concerned. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT', 'ENOTCONN', 'ERR_STREAM_DESTROYED'])

export function codeOf(error: Error): string {
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  // Several addresses were tried (happy eyeballs): the first failure names the cause.
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return codeOf(error.errors[0])
  return error.name
}

export function classify(error: Error, context: FailureContext): Outcome {
  const code = codeOf(error)
  if (EXHAUSTED.has(code)) return 'resource_exhausted'
  if (context.dialling !== undefined) return classifyDial(code, context.dialling)
  if (code === NOT_HTTP) return 'protocol_error'
  const ended = code === ENDED
  if (!ended && !BROKEN.has(code)) return 'internal_error'
  if (context.reused && !context.responseStarted) return 'stale_connection'
  // A FIN in mid-body is an upstream that gave up in good order; a RST is one that broke.
  return ended && context.headersReceived ? 'truncated' : 'reset'
}

function classifyDial(code: string, stage: 'dns' | 'connect' | 'tls'): Outcome {
  if (stage === 'dns') return 'dns_error'
  if (stage === 'tls') return 'tls_error'
  if (UNREACHABLE.has(code) || code === 'ETIMEDOUT') return 'connect_unreachable'
  // ECONNREFUSED; a RST in answer to the SYN or right after it (ECONNRESET) is a refusal too.
  return 'connect_refused'
}
