/** The replies of the gateway's own to a request for WebSocket: those of an exchange, and what HTTP wants beside them. */
import { type Problem, problem } from '../exchange/problem.ts'
import type { BoundRoute } from '../exchange/route.ts'
import { OUTCOMES, type Outcome, type Stage } from '../outcome.ts'
import { VERSION } from './handshake.ts'

export function upgradeRefusal(outcome: Outcome, stage: Stage | undefined, requestId: string): Problem {
  const reply = problem(outcome, OUTCOMES[outcome].status, stage, requestId)
  // RFC 9110 section 15.5.22 has a 426 name the protocol to speak here: where WebSocket is not served, plain HTTP.
  if (outcome === 'upgrade_failed') reply.headers.push('Upgrade', 'HTTP/1.1', 'Connection', 'Upgrade')
  // RFC 6455 section 4.2.2: which version would have done.
  if (outcome === 'bad_request') reply.headers.push('Sec-WebSocket-Version', VERSION)
  return reply
}

/** What keeps a request from being sent on its way at all. @param looped it has been here before */
export function refusedAtOnce(route: BoundRoute, looped: boolean): Outcome | undefined {
  const { websocket, shared, inflight, limits } = route
  if (websocket === null) return 'upgrade_failed'
  if (shared.draining) return 'draining'
  if (inflight.size >= limits.inFlight) return 'overloaded'
  return looped ? 'loop_detected' : undefined
}
