/** The replies that the gateway makes itself: problem+json (RFC 9457) and Proxy-Status (RFC 9209), and no secrets. */
import { STATUS_CODES } from 'node:http'
import { OUTCOMES, type Outcome, type Stage } from '../outcome.ts'

export interface Problem {
  readonly status: number
  readonly headers: string[]
  readonly body: Buffer
}

/** Seconds after which a refused caller may come back. */
const RETRY_AFTER_SECONDS = '1'

export function problem(outcome: Outcome, status: number, stage: Stage | undefined, requestId: string): Problem {
  const row = OUTCOMES[outcome]
  const body = Buffer.from(
    `${JSON.stringify({ status, title: STATUS_CODES[status] ?? 'Error', outcome, stage, request_id: requestId })}\n`,
  )
  const headers = [
    'Content-Type',
    'application/problem+json',
    'Content-Length',
    String(body.length),
    'Cache-Control',
    'no-store',
    'X-Request-Id',
    requestId,
    'Proxy-Status',
    `hopgate; error=${row.proxyStatus === '' ? 'proxy_internal_error' : row.proxyStatus}; details="${outcome}"`,
  ]
  if ('retryAfter' in row) headers.push('Retry-After', RETRY_AFTER_SECONDS)
  return { status, headers, body }
}
