/**
 * Translates what Node, OpenSSL and undici report into outcomes. The only place that knows foreign error codes; each
 * branch says what forces it. Codes are compared, never message texts.
 */
import type { Outcome } from '../outcome.ts'

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
  /** The upstream has sent its FIN. */
  readonly ended: boolean
}

/** The process or the machine is out of something: nobody's fault but ours. */
const EXHAUSTED = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

const UNREACHABLE = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EACCES', 'EPERM', 'EINVAL'])

/** The connection broke off, by RST or as far as our writes were concerned. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT', 'ENOTCONN', 'ERR_STREAM_DESTROYED'])

/** The code of what the gateway found itself to be no HTTP. */
export const NOT_HTTP = 'HOPGATE_NOT_HTTP'

/** What undici says when the upstream sent something that is no HTTP, or none that was asked for. */
const UNSPOKEN = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_EXCEEDED_MAX_SIZE', NOT_HTTP])

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
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') return 'internal_error'
  // undici asserts what it expects of a response: an unasked 101 without Upgrade fails `assert(upgrade)` (found by fuzzing).
  if (error.name === 'AssertionError' && context.responseStarted) return 'protocol_error'
  if (code === 'UND_ERR_ABORTED' || error.name === 'AssertionError' || error instanceof TypeError) {
    return 'internal_error'
  }
  const broken = BROKEN.has(code)
  const ended = code === 'UND_ERR_SOCKET' && !isProtocol(error)
  if (broken || ended) {
    if (context.reused && !context.responseStarted) return 'stale_connection'
    // A FIN in mid-body is an upstream that gave up in good order; a RST is one that broke.
    return ended && context.headersReceived ? 'truncated' : 'reset'
  }
  // The body ended before its Content-Length, or before its last chunk: undici's parser complains at the FIN.
  const unfinished = context.ended && error.name === 'HTTPParserError'
  if (unfinished) return context.headersReceived ? 'truncated' : 'reset'
  // Before the headers are handed over it is two Content-Lengths, or one beside Transfer-Encoding (undici 7.30.2).
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return context.headersReceived ? 'truncated' : 'protocol_error'
  // An HTTPParserError has no code in undici 7 (test/facts), only its name.
  if (UNSPOKEN.has(code) || code === 'UND_ERR_SOCKET' || error.name === 'HTTPParserError') return 'protocol_error'
  return 'internal_error'
}

function classifyDial(code: string, stage: 'dns' | 'connect' | 'tls'): Outcome {
  if (stage === 'dns') return 'dns_error'
  if (stage === 'tls') return 'tls_error'
  if (UNREACHABLE.has(code) || code === 'ETIMEDOUT') return 'connect_unreachable'
  // ECONNREFUSED; a RST in answer to the SYN or right after it (ECONNRESET) is a refusal too.
  return 'connect_refused'
}

/** undici uses one error class for "the other side closed" and for two protocol errors; only the text tells. */
function isProtocol(error: Error): boolean {
  return error.message === 'bad upgrade' || error.message === 'bad response'
}
