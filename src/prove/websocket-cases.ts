/** The timeouts of a route with `websocket`: what makes each fire, and what it must be called. */
import type { WebSocketTimeoutName } from '../config/timeouts.ts'
import type { ProveCase, Subject } from './case.ts'
import { type Expected, expected } from './promised.ts'

export const SPEAKS_WEBSOCKET = { on: 'headers', then: 'upgrade', speaks: true } as const

/** Nobody waits for hours: such a value is proven by `--scale`. */
const LONGEST_MS = 15 * 60_000

type Made = Pick<ProveCase, 'upstream' | 'plan' | 'expect'> & Partial<ProveCase>

/** @returns why not, where it cannot be proven */
export function websocketCase({ route }: Subject, name: WebSocketTimeoutName, ms: number): Made | string {
  const { websocket } = route
  if (websocket === null) return 'the route has no websocket'
  if (ms > LONGEST_MS) return 'longer than 15m: --scale proves it'
  const idleMs = websocket.idleTimeout.value
  const lifetimeMs = websocket.maxLifetime.value
  const upstream = SPEAKS_WEBSOCKET
  const answersPings = name !== 'websocket.ping_interval'
  switch (name) {
    case 'websocket.idle_timeout':
      return {
        upstream,
        plan: { does: 'upgrades', answersPings },
        ...(lifetimeMs <= ms
          ? { expect: [ended('websocket.max_lifetime', lifetimeMs)], covered: 'covered by max_lifetime' }
          : { expect: [ended(name, ms)] }),
      }
    case 'websocket.max_lifetime':
      return {
        upstream,
        plan: { does: 'upgrades', answersPings, pingsEveryMs: Math.max(5, Math.floor(Math.min(idleMs, ms) / 4)) },
        expect: [ended(name, ms)],
      }
    case 'websocket.ping_interval':
      if (Math.min(idleMs, lifetimeMs) <= 2 * ms) return 'a peer that is silent for two of them is cut before'
      return { upstream, plan: { does: 'upgrades', answersPings }, expect: [ended(name, ms)] }
  }
}

function ended(timeout: WebSocketTimeoutName, afterMs: number): Expected {
  const more = { seen: 'closed', timeout, afterMs } as const
  if (timeout === 'websocket.idle_timeout') return expected('tunnel_idle', ['tunnel'], more)
  if (timeout === 'websocket.max_lifetime') return expected('tunnel_lifetime', ['tunnel'], more)
  return expected('tunnel_error', ['tunnel'], { ...more, party: 'client' })
}
