/** The few colours in which the live page stacks outcomes: who is asked to look, not what exactly it was. */
import { OUTCOMES, type Outcome } from '../outcome.ts'

/** From the bottom of a stack to its top. */
export const BANDS = [
  /** Answered, below 500. */
  'ok',
  /** Answered 5xx by the upstream itself. */
  'upstream_5xx',
  /** The client left (499). */
  'client_left',
  /** Any other fault of the client's. */
  'client_fault',
  /** A timeout of the upstream hop, or the deadline (504). */
  'timeout',
  /** The upstream refused, broke off or spoke no HTTP (502). */
  'upstream_failed',
  /** The gateway itself could not or would not (503, 500). */
  'refused',
] as const
export type Band = (typeof BANDS)[number]

const OF_OUTCOME: ReadonlyMap<Outcome, number> = new Map(
  (Object.keys(OUTCOMES) as Outcome[]).map(outcome => [outcome, BANDS.indexOf(nameOf(outcome))]),
)

function nameOf(outcome: Outcome): Band {
  if (outcome === 'client_abort') return 'client_left'
  const { status, party } = OUTCOMES[outcome]
  // Completed, and tunnels that ended as they should, or as they were configured to.
  if (party === 'none') return 'ok'
  if (status === 504) return 'timeout'
  if (party === 'client') return 'client_fault'
  return party === 'upstream' ? 'upstream_failed' : 'refused'
}

const UPSTREAM_5XX = BANDS.indexOf('upstream_5xx')

/** The index in BANDS. */
export function bandOf(outcome: Outcome, status: number): number {
  if (outcome === 'completed' && status >= 500) return UPSTREAM_5XX
  return OF_OUTCOME.get(outcome) ?? 0
}
