/** How a WebSocket ended, or never began, in words. */
import type { Outcome } from '../outcome.ts'
import type { Facts } from './facts.ts'
import { because, spell, spellBytes, whom } from './words.ts'

type WebSocketOutcome = Extract<Outcome, 'upgrade_failed' | `tunnel_${string}`>

export const WEBSOCKETS: Readonly<Record<WebSocketOutcome, (facts: Facts) => string>> = {
  upgrade_failed: facts =>
    facts.stage === 'route'
      ? `The client asked for a WebSocket on route ${facts.route}, which takes none (it has no websocket in the configuration): no upstream was asked.`
      : `${whom(facts)} refused the WebSocket: it answered ${facts.status}, which the client was given${because(facts)}.`,

  tunnel_closed: facts => `A WebSocket to ${whom(facts)} was closed in good order${after(facts)}; ${moved(facts)}.`,

  tunnel_idle: facts =>
    `A WebSocket to ${whom(facts)} was closed${after(facts)}: nothing came from either side for websocket.idle_timeout; ${moved(facts)}.`,

  tunnel_lifetime: facts =>
    `A WebSocket to ${whom(facts)} was closed${after(facts)}, which is its websocket.max_lifetime; ${moved(facts)}.`,

  tunnel_error: facts =>
    `A WebSocket broke${after(facts)} on the side of ${facts.party === 'client' ? 'the client' : whom(facts)}${because(facts)}; ${moved(facts)}.`,
}

function after({ times }: Facts): string {
  return times.total >= 0 ? ` after ${spell(times.total)}` : ''
}

function moved({ rxBytes, txBytes }: Facts): string {
  return `${spellBytes(rxBytes)} had come from the client, and ${spellBytes(txBytes)} had gone to it`
}
