/** What Node's server reports of connections it could not read a request from, in the gateway's words. */
import type { ListenConfig } from '../config/config.ts'
import type { Refusal } from './refusal.ts'

interface ParseError extends Error {
  readonly code?: string
  /** The bytes that were being parsed when it failed. */
  readonly rawPacket?: Buffer
}

/** @returns undefined where there is nobody to answer: the socket itself failed. */
export function parseRefusal(error: ParseError, listen: ListenConfig): Refusal | undefined {
  const code = error.code ?? ''
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return {
      outcome: 'client_timeout',
      stage: 'request_headers',
      timeout: 'listen.timeouts.headers',
      age: listen.timeouts.headers.value,
      error,
    }
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { outcome: 'bad_request', stage: 'request_headers', status: overflowStatus(error, listen), error }
  }
  if (code.startsWith('HPE_')) return { outcome: 'bad_request', stage: 'request_headers', error }
  return undefined
}

/** Node has one error for a target and for header fields that are too long; HTTP has two: 414 and 431. */
function overflowStatus({ rawPacket }: ParseError, listen: ListenConfig): number {
  if (rawPacket === undefined) return 431
  const lineEnd = rawPacket.indexOf('\n')
  return lineEnd === -1 || lineEnd > listen.maxHeaderBytes ? 414 : 431
}

/** A request that was parsed, and is not one all the same. Nothing that comes after it is believed. */
export function malformed(why: string, status = 400): Refusal {
  const error = Object.assign(new Error(why), { code: 'HOPGATE_MALFORMED' })
  return { outcome: 'bad_request', stage: 'request_headers', status, error, close: true }
}

/** A tunnel to anywhere is not what a gateway is for. */
export function connectRefusal(allow: readonly string[]): Refusal {
  return { outcome: 'no_route', stage: 'route', status: 405, allow }
}
