/** What an open WebSocket is to the exchange that opened it: a tunnel or a relay, with one way to end. */
import type { ClosedBy } from '../observe/record.ts'
import type { Outcome, Party, TimeoutName } from '../outcome.ts'

export interface SessionEnding {
  readonly outcome: Outcome
  readonly party: Party
  readonly by: ClosedBy
  /** The close code: see `WebSocketEnd`. */
  readonly code: number
  readonly error?: Error | undefined
  readonly timeout?: TimeoutName
  /** ms */
  readonly overrunMs?: number
}

export interface SessionEvents {
  /** Called once. Nothing of the session is open then but what still closes in good order. */
  sessionEnded(ending: SessionEnding): void
}

export interface Session {
  /** @param early what the client sent behind its request, before it had an answer */
  start(early: readonly Buffer[]): void
  /** From the client, and to it. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** A native timer is set. */
  readonly ticking: boolean
  /** URL of the endpoint that it is connected to now; '' for none. */
  readonly endpointUrl: string
  /** Upstream connections that were used. */
  readonly attempts: number
  /** The gateway takes nothing new. */
  drain(): void
  /** Ends it at once, both connections cut. */
  kill(ending: SessionEnding): void
}
