/**
 * The contract's table of outcomes, written a second time: what is proven must not be read from the code that is
 * proven. `0` as a status stands for what the upstream's head said.
 */
import type { Outcome, Party, Stage, TimeoutName } from '../outcome.ts'

interface Promised {
  readonly status: number
  readonly party: Party
  readonly retryAfter?: true
}

/** Contract section 3, as far as `prove` can provoke it. */
export const PROMISED = {
  completed: { status: 0, party: 'none' },
  client_abort: { status: 499, party: 'client' },
  client_timeout: { status: 408, party: 'client' },
  bad_request: { status: 400, party: 'client' },
  body_too_large: { status: 413, party: 'client' },
  no_route: { status: 404, party: 'client' },
  overloaded: { status: 503, party: 'gateway', retryAfter: true },
  queue_full: { status: 503, party: 'gateway', retryAfter: true },
  queue_timeout: { status: 503, party: 'gateway', retryAfter: true },
  connect_refused: { status: 502, party: 'upstream' },
  connect_timeout: { status: 504, party: 'upstream' },
  tls_error: { status: 502, party: 'upstream' },
  stale_connection: { status: 502, party: 'upstream' },
  reset: { status: 502, party: 'upstream' },
  request_write_timeout: { status: 504, party: 'upstream' },
  response_headers_timeout: { status: 504, party: 'upstream' },
  body_idle_timeout: { status: 504, party: 'upstream' },
  truncated: { status: 502, party: 'upstream' },
  protocol_error: { status: 502, party: 'upstream' },
  deadline_exceeded: { status: 504, party: 'upstream' },
  tunnel_idle: { status: 101, party: 'none' },
  tunnel_lifetime: { status: 101, party: 'none' },
  tunnel_error: { status: 101, party: 'upstream' },
} as const satisfies Partial<Record<Outcome, Promised>>

export type ProvenOutcome = keyof typeof PROMISED

/**
 * How the client learns of it: a `reply` of the gateway's own, the upstream's `answer`, a response that is `cut` off,
 * a connection that is `closed` between two requests; or not at all, having `left`.
 */
export type Seen = 'reply' | 'answer' | 'cut' | 'closed' | 'left'

/** What must be seen of one exchange. */
export interface Expected {
  readonly outcome: ProvenOutcome
  /** Any of these; undefined: none. */
  readonly stages: readonly (Stage | undefined)[]
  readonly party: Party
  /** In the access line and in the metrics. */
  readonly status: number
  readonly seen: Seen
  /** The timeout that fires, and after how many ms. */
  readonly timeout?: TimeoutName
  readonly afterMs?: number
  /** Attempts that the access line must tell. */
  readonly attempts?: number
}

/** The kit's upstream answers 200. */
const UPSTREAMS_STATUS = 200

/** Before headers the table's status is sent; after them it stays what was sent, and the connection is cut. */
export function expected(outcome: ProvenOutcome, stages: Expected['stages'], more: Partial<Expected> = {}): Expected {
  const { status, party } = PROMISED[outcome]
  const [stage] = stages
  const answered = stage === undefined || stage === 'response_body' || stage === 'client_write'
  const left = outcome === 'client_abort'
  return {
    outcome,
    stages,
    party,
    status: answered ? UPSTREAMS_STATUS : status,
    seen: left ? 'left' : stage === undefined ? 'answer' : answered ? 'cut' : 'reply',
    ...more,
  }
}

/** The deadline over the whole, passing in `stage`: whose fault it was shows in where the exchange was. */
export function deadline(stage: Stage, afterMs: number): Expected {
  const party: Party = stage === 'queue' ? 'gateway' : stage === 'client_write' ? 'client' : 'upstream'
  return expected('deadline_exceeded', [stage], { party, timeout: 'request', afterMs })
}

/** Contract section 2: within `[t, t + max(50 ms, 2 %)]`. */
export function toleranceMs(afterMs: number): number {
  return Math.max(50, afterMs * 0.02)
}

export function promisesRetryAfter(outcome: ProvenOutcome): boolean {
  return 'retryAfter' in PROMISED[outcome]
}
