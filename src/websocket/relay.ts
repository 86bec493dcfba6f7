/**
 * An open relay: the gateway is the server of one WebSocket and the client of another, and passes messages on. A backend
 * that is lost is reached again while the client stays. Whatever ends the relay goes through `#begin`, once; the relay is over
 * when both peers are closed.
 */
import type { Socket } from 'node:net'
import type { WebSocketConfig } from '../config/config.ts'
import { now, type TimerLedger } from '../exchange/alarm.ts'
import type { UpstreamSide } from '../exchange/upstream-side.ts'
import type { WebSocketMetrics } from '../observe/websocket-metrics.ts'
import { sever } from '../sever.ts'
import type { Connection } from '../upstream/connection.ts'
import { NO_CLOSE_FRAME } from './frame-watch.ts'
import { type Message, Outbox } from './outbox.ts'
import { Reconnection, type ReconnectionDeps, type ReconnectionEvents } from './reconnection.ts'
import { RelayClock, type RelayClockEvents } from './relay-clock.ts'
import { RelayPeer } from './relay-peer.ts'
import type { Session, SessionEnding, SessionEvents } from './session.ts'
import type { SessionTimeout } from './session-clock.ts'

/** Close codes of RFC 6455 section 7.4.1 and the registry. */
const GOING_AWAY = 1001
const TOO_BIG = 1009
const INTERNAL_ERROR = 1011
const SERVICE_RESTART = 1012
const TRY_AGAIN_LATER = 1013

/** How a backend leaves that is to come back: by crash, by shutdown, by restart. */
const RECONNECT_AFTER = new Set([NO_CLOSE_FRAME, GOING_AWAY, SERVICE_RESTART])

const GONE = Object.assign(new Error('the relay is over'), { code: 'HOPGATE_GIVEN_UP' })

/** With a code of its own: what `ws` calls a message that is larger than it may be. */
const UNSUPPORTED_LENGTH = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'

export interface RelayDeps {
  readonly client: Socket
  readonly upstream: Socket
  readonly side: UpstreamSide
  readonly connection: Connection
  readonly config: WebSocketConfig
  readonly timers: TimerLedger
  readonly metrics: WebSocketMetrics
  /** The subprotocol that the client was told. */
  readonly protocol: string
  readonly reconnection: ReconnectionDeps
  /** A ping of this route was not answered: counted, although it may end nothing but one connection. */
  pingTimedOut(overrunMs: number): void
}

export class Relay implements Session, RelayClockEvents, ReconnectionEvents {
  bytesIn = 0
  bytesOut = 0
  attempts = 1
  endpointUrl: string
  readonly #deps: RelayDeps
  readonly #events: SessionEvents
  readonly #clock: RelayClock
  readonly #outbox = new Outbox()
  #client: RelayPeer | undefined
  #backend: RelayPeer | undefined
  #side: UpstreamSide
  #connection: Connection
  #connectedAt = now()
  /** Attempts in a row that led to nothing that lasted. */
  #tries = 0
  #reconnection: Reconnection | undefined
  #waitsToRetry = false
  /** The number of the last message before the ping that is out; -1: none is. */
  #pingMark = -1
  /** Why it ends; undefined: it does not. */
  #ending: SessionEnding | undefined
  /** The code that the backend gets when all that waits was sent. */
  #goodbye: { readonly code: number; readonly reason: string } | undefined
  #over = false

  constructor(deps: RelayDeps, events: SessionEvents) {
    this.#deps = deps
    this.#events = events
    this.#side = deps.side
    this.#connection = deps.connection
    this.endpointUrl = deps.connection.endpoint.config.url
    this.#clock = new RelayClock(deps.config, deps.timers, this)
  }

  start(early: readonly Buffer[]): void {
    const { client, upstream, config } = this.#deps
    this.#useBackend(upstream)
    this.#client = new RelayPeer('server', client, Buffer.concat(early), config.maxMessageBytes, {
      message: message => this.#fromClient(message),
      pinged: () => this.#clock.moved(),
      ponged: () => {},
      taken: () => this.#clientTook(),
      failed: error => this.#clientFailed(error),
      closed: (code, reason) => this.#clientClosed(code, reason),
    })
  }

  get ticking(): boolean {
    return this.#clock.ticking || this.#reconnection?.ticking === true
  }

  drain(): void {
    this.#begin(
      { outcome: 'tunnel_closed', party: 'none', by: 'gateway', code: SERVICE_RESTART },
      SERVICE_RESTART,
      'the gateway restarts',
    )
  }

  kill(ending: SessionEnding): void {
    this.#ending ??= ending
    this.#client?.terminate()
    this.#backend?.terminate()
    this.#finish()
  }

  // ---- clocks ----

  sessionTimedOut(timeout: SessionTimeout, overrunMs: number): void {
    const idle = timeout === 'websocket.idle_timeout'
    const code = idle ? GOING_AWAY : SERVICE_RESTART
    const outcome = idle ? 'tunnel_idle' : 'tunnel_lifetime'
    this.#begin({ outcome, party: 'none', by: 'gateway', code, timeout, overrunMs }, code, outcome)
  }

  pingDue(overrunMs: number): void {
    if (this.#backend?.pingAndJudge() === 'dead') {
      this.#deps.pingTimedOut(overrunMs)
      this.#backend.terminate()
    }
    if (this.#client?.pingAndJudge() !== 'dead') return
    const error = Object.assign(new Error('no answer to a ping'), { code: 'HOPGATE_NO_PONG' })
    this.#ending ??= {
      outcome: 'tunnel_error',
      party: 'client',
      by: 'gateway',
      code: NO_CLOSE_FRAME,
      timeout: 'websocket.ping_interval',
      overrunMs,
      error,
    }
    this.#client.terminate()
  }

  // ---- the client ----

  #fromClient(message: Message): void {
    this.#clock.moved()
    this.bytesIn += message.data.length
    this.#deps.metrics.bytesIn += message.data.length
    // Said before the client could hear our goodbye: delivered as long as there is somebody to deliver it to.
    if (this.#ending !== undefined && this.#backend?.isOpen !== true) return
    this.#outbox.push(message)
    const { maxBufferedBytes } = this.#deps.config
    if (this.#backend?.isOpen === true) {
      this.#send()
      // Half is left for what was under way when the backend is lost.
      if (Math.max(this.#outbox.bytes, this.#backend.waiting) > maxBufferedBytes / 2) this.#client?.pause()
    } else if (this.#outbox.bytes > maxBufferedBytes) {
      const ending = { outcome: 'tunnel_error', party: 'upstream', by: 'gateway', code: TRY_AGAIN_LATER } as const
      const error = Object.assign(new Error('max_buffered is full'), { code: 'HOPGATE_BUFFER_FULL' })
      this.#begin({ ...ending, error }, TRY_AGAIN_LATER, 'the backend is away')
    }
  }

  #clientTook(): void {
    const { maxBufferedBytes } = this.#deps.config
    if ((this.#client?.waiting ?? 0) <= maxBufferedBytes / 2) this.#backend?.resume()
  }

  #clientFailed(error: Error): void {
    const { code } = error as { code?: unknown }
    // A message that is no WebSocket, or too large: ws has told the client so. Anything else is its connection's end.
    if (typeof code === 'string' && code.startsWith('WS_ERR')) {
      const told = code === UNSUPPORTED_LENGTH ? TOO_BIG : 1002
      this.#ending ??= { outcome: 'tunnel_error', party: 'client', by: 'gateway', code: told, error }
    } else {
      this.#ending ??= { outcome: 'tunnel_error', party: 'client', by: 'client', code: NO_CLOSE_FRAME, error }
    }
  }

  #clientClosed(code: number, reason: string): void {
    this.#ending ??= { outcome: 'tunnel_closed', party: 'none', by: 'client', code }
    const own = this.#ending.by === 'gateway'
    this.#leave(own ? GOING_AWAY : code, own ? '' : reason)
  }

  // ---- the backend ----

  #useBackend(socket: Socket): void {
    const { config } = this.#deps
    const peer: RelayPeer = new RelayPeer('client', socket, Buffer.alloc(0), config.maxMessageBytes, {
      message: message => this.#fromBackend(message),
      pinged: () => this.#clock.moved(),
      ponged: data => this.#confirmed(data),
      taken: () => this.#backendTook(),
      failed: error => this.#backendFailed(error),
      closed: (code, reason) => this.#backendClosed(peer, code, reason),
    })
    this.#backend = peer
  }

  #fromBackend(message: Message): void {
    this.#clock.moved()
    const client = this.#client
    if (client?.isOpen !== true) return
    this.bytesOut += message.data.length
    this.#deps.metrics.bytesOut += message.data.length
    client.send(message, () => this.#clientTook())
    if (client.waiting > this.#deps.config.maxBufferedBytes) this.#backend?.pause()
  }

  #send(): void {
    const backend = this.#backend
    if (backend === undefined) return
    for (let message = this.#outbox.next(); message !== undefined; message = this.#outbox.next()) {
      backend.send(message, () => this.#backendTook())
    }
    // Where no other backend is ever asked, nothing need be kept for it.
    if (this.#deps.config.reconnect === null) this.#outbox.confirm(this.#outbox.mark)
    else this.#prove()
  }

  /** Asks for the proof that what was sent was read: one question at a time. */
  #prove(): void {
    if (this.#pingMark !== -1 || !this.#outbox.hasUnconfirmed || this.#backend?.isOpen !== true) return
    this.#pingMark = this.#outbox.mark
    this.#backend.ping(`hopgate ${this.#pingMark}`)
  }

  #confirmed(data: Buffer): void {
    if (this.#pingMark === -1 || data.toString() !== `hopgate ${this.#pingMark}`) return
    this.#outbox.confirm(this.#pingMark)
    this.#pingMark = -1
    this.#backendTook()
    this.#prove()
  }

  #backendTook(): void {
    const waiting = Math.max(this.#outbox.bytes, this.#backend?.waiting ?? 0)
    if (waiting <= this.#deps.config.maxBufferedBytes / 4) this.#client?.resume()
  }

  #backendFailed(error: Error): void {
    const { code } = error as { code?: unknown }
    if (typeof code !== 'string' || !code.startsWith('WS_ERR')) return
    const told = code === UNSUPPORTED_LENGTH ? TOO_BIG : INTERNAL_ERROR
    this.#begin({ outcome: 'tunnel_error', party: 'upstream', by: 'gateway', code: told, error }, told, '')
  }

  #backendClosed(peer: RelayPeer, code: number, reason: string): void {
    if (this.#backend !== peer) return
    this.#backend = undefined
    const error = this.#connection.broke
    // What the socket was closed for, and whether in good order, is told by the code; the slot is free.
    this.#side.finish()
    this.#outbox.rewind()
    this.#pingMark = -1
    if (now() - this.#connectedAt >= (this.#deps.config.reconnect?.maxBackoffMs ?? 0)) this.#tries = 0
    // Whom the client has left is needed only for what has not arrived.
    const wanted =
      this.#goodbye === undefined ? this.#ending === undefined : !this.#outbox.isEmpty && code === NO_CLOSE_FRAME
    if (wanted && this.#deps.config.reconnect !== null && RECONNECT_AFTER.has(code)) {
      // While nobody is there to wait for, the client is read: what it sends is kept, and that it leaves is seen.
      this.#client?.resume()
      this.#retry(error)
      return
    }
    if (this.#ending === undefined) {
      const lost = code === NO_CLOSE_FRAME
      this.#ending = lost
        ? { outcome: 'tunnel_error', party: 'upstream', by: 'upstream', code, error }
        : { outcome: 'tunnel_closed', party: 'none', by: 'upstream', code }
      this.#client?.close(lost ? INTERNAL_ERROR : code, lost ? 'the backend is gone' : reason)
    }
    this.#finish()
  }

  // ---- reaching it again ----

  #retry(error: Error | undefined): void {
    const { reconnect } = this.#deps.config
    if (reconnect === null) return
    if (this.#tries >= reconnect.attempts) {
      this.#deps.metrics.reconnect('given_up')
      this.#giveUp(error)
      return
    }
    const whole = Math.min(reconnect.backoffMs * 2 ** this.#tries, reconnect.maxBackoffMs)
    this.#tries++
    this.#waitsToRetry = true
    // Not all at the same instant: a backend that comes back is not to be met by all of its clients at once.
    this.#clock.retryAfter(whole * (0.5 + Math.random() / 2))
  }

  retryDue(): void {
    this.#waitsToRetry = false
    if (this.#over) return
    this.#reconnection = new Reconnection(this.#deps.reconnection, this)
    this.#reconnection.start()
  }

  reconnected(side: UpstreamSide, connection: Connection, socket: Socket, protocol: string): void {
    if (protocol !== this.#deps.protocol) {
      side.cancel(GONE)
      this.reconnectionFailed(Object.assign(new Error('another subprotocol'), { code: 'HOPGATE_REFUSED' }))
      return
    }
    this.#reconnection = undefined
    this.#deps.metrics.reconnect('connected')
    this.#side = side
    this.#connection = connection
    this.#connectedAt = now()
    this.attempts++
    this.endpointUrl = connection.endpoint.config.url
    this.#useBackend(socket)
    this.#send()
    if (this.#goodbye !== undefined) this.#sayGoodbye(this.#goodbye)
  }

  reconnectionFailed(error: Error): void {
    this.#reconnection = undefined
    this.#deps.metrics.reconnect('failed')
    this.#retry(error)
  }

  #giveUp(error: Error | undefined): void {
    if (this.#goodbye !== undefined && !this.#outbox.isEmpty) {
      // The client has left in good order, and what it said last was not delivered: that is no good end.
      this.#ending = {
        outcome: 'tunnel_error',
        party: 'upstream',
        by: 'client',
        code: this.#goodbye.code,
        error,
      }
    }
    this.#begin(
      { outcome: 'tunnel_error', party: 'upstream', by: 'gateway', code: INTERNAL_ERROR, error },
      INTERNAL_ERROR,
      'the backend is gone',
    )
    this.#finish()
  }

  // ---- the end ----

  /** The gateway ends it: the client is told `code`; when it is closed, the backend is told too. */
  #begin(ending: SessionEnding, code: number, reason: string): void {
    if (this.#ending === undefined) {
      this.#ending = ending
      this.#client?.close(code, reason)
    }
  }

  /** The client is closed: the backend hears of it behind all that waits for it. */
  #leave(code: number, reason: string): void {
    // A client that left without a word has gone away.
    this.#goodbye = { code: code === NO_CLOSE_FRAME ? GOING_AWAY : code, reason }
    if (this.#backend !== undefined) {
      this.#sayGoodbye(this.#goodbye)
    } else if (this.#outbox.isEmpty || this.#ending?.by === 'gateway') {
      this.#reconnection?.cancel()
      this.#reconnection = undefined
      this.#waitsToRetry = false
    }
    this.#finish()
  }

  /** Asks once more for the proof, of all that was sent: whoever reads the goodbye has read the question before it. */
  #sayGoodbye({ code, reason }: { readonly code: number; readonly reason: string }): void {
    this.#pingMark = -1
    this.#prove()
    this.#backend?.close(code, reason)
  }

  #finish(): void {
    const killed = this.#ending?.outcome === 'drain_killed' || this.#ending?.outcome === 'internal_error'
    const busy = this.#backend !== undefined || this.#reconnection !== undefined || this.#waitsToRetry
    const clientOpen = this.#client !== undefined && !this.#client.isClosed
    if (this.#over || this.#ending === undefined || (!killed && (busy || clientOpen))) return
    this.#over = true
    this.#clock.stop()
    this.#reconnection?.cancel()
    this.#side.cancel(GONE)
    sever(this.#deps.client)
    const { error } = this.#ending
    // A backend that said goodbye by itself has said that it reads no more.
    const lost = this.#ending.by === 'upstream' && this.#ending.outcome === 'tunnel_closed' ? 0 : this.#outbox.length
    this.#events.sessionEnded(lost === 0 ? this.#ending : { ...this.#ending, error: undeliveredError(lost, error) })
  }
}

function undeliveredError(count: number, cause: Error | undefined): Error {
  const { code } = (cause ?? {}) as { code?: string }
  return Object.assign(new Error(`${count} messages of the client were not delivered`), {
    code: code ?? 'HOPGATE_UNDELIVERED',
  })
}
