/**
 * An open tunnel: bytes both ways, each direction paused while its reader takes no more, each FIN passed on as a FIN and
 * each RST as a RST. It ends when both sides have ended, when one breaks, or when a timeout says so.
 */
import type { Socket } from 'node:net'
import type { TimerLedger } from '../exchange/alarm.ts'
import type { SocketTable } from '../exchange/socket-table.ts'
import type { ClosedBy } from '../observe/record.ts'
import type { WebSocketMetrics } from '../observe/websocket-metrics.ts'
import { sever, wasReset } from '../sever.ts'
import type { Connection } from '../upstream/connection.ts'
import { FrameWatch, NO_CLOSE_FRAME } from './frame-watch.ts'
import type { Session, SessionEnding, SessionEvents } from './session.ts'
import { SessionClock, type SessionClockEvents, type SessionTimeout, type SessionTimeouts } from './session-clock.ts'

type Side = 'client' | 'upstream'

export interface TunnelDeps {
  readonly client: Socket
  readonly upstream: Socket
  /** The connection that `upstream` belongs to: it knows of resets that Node hides. */
  readonly connection: Connection
  readonly timeouts: SessionTimeouts
  readonly timers: TimerLedger
  readonly table: SocketTable
  readonly metrics: WebSocketMetrics
}

export class Tunnel implements Session, SessionClockEvents {
  bytesIn = 0
  bytesOut = 0
  readonly attempts = 1
  readonly endpointUrl: string
  readonly #deps: TunnelDeps
  readonly #events: SessionEvents
  readonly #clock: SessionClock
  readonly #fromClient = new FrameWatch()
  readonly #fromUpstream = new FrameWatch()
  /** Who said goodbye first, by a close frame or by a FIN. */
  #by: Side | undefined
  /** Of the first close frame. */
  #code: number | undefined
  #clientEnded = false
  #upstreamEnded = false
  #error: Error | undefined
  #over = false

  constructor(deps: TunnelDeps, events: SessionEvents) {
    this.#deps = deps
    this.#events = events
    this.endpointUrl = deps.connection.endpoint.config.url
    this.#clock = new SessionClock(deps.timeouts, deps.timers, deps.table, this)
  }

  /** @param early what the client sent behind its request, before it had an answer */
  start(early: readonly Buffer[]): void {
    const { client, upstream } = this.#deps
    // Node's HTTP server makes its sockets so; those we dial are not.
    client.allowHalfOpen = true
    upstream.allowHalfOpen = true
    this.#listen('client', client, upstream)
    this.#listen('upstream', upstream, client)
    for (const chunk of early) this.#fromClientChunk(chunk)
    client.resume()
    upstream.resume()
  }

  get ticking(): boolean {
    return this.#clock.ticking
  }

  /** Its frames are the two ends' own: nothing can be said between them. It may end by itself until the deadline. */
  drain(): void {}

  kill(ending: SessionEnding): void {
    this.#end(ending)
  }

  sessionTimedOut(timeout: SessionTimeout, overrunMs: number): void {
    this.#end({
      outcome: timeout === 'websocket.idle_timeout' ? 'tunnel_idle' : 'tunnel_lifetime',
      party: 'none',
      by: this.#code === undefined ? 'gateway' : (this.#by ?? 'gateway'),
      code: this.#code ?? NO_CLOSE_FRAME,
      timeout,
      overrunMs,
    })
  }

  #listen(side: Side, from: Socket, to: Socket): void {
    const toSide: Side = side === 'client' ? 'upstream' : 'client'
    from.on('data', side === 'client' ? chunk => this.#fromClientChunk(chunk) : chunk => this.#fromUpstreamChunk(chunk))
    from.on('drain', () => {
      if (this.#over) return
      this.#clock.drained(side)
      to.resume()
    })
    from.on('end', () => this.#ended(side, from, to))
    from.on('error', error => {
      this.#error ??= side === 'upstream' ? (this.#deps.connection.broke ?? error) : error
      this.#by ??= side
    })
    from.on('close', () => this.#closed(side, toSide))
  }

  #fromClientChunk(chunk: Buffer): void {
    this.bytesIn += chunk.length
    this.#deps.metrics.bytesIn += chunk.length
    this.#pass(chunk, 'client', this.#fromClient)
  }

  #fromUpstreamChunk(chunk: Buffer): void {
    this.bytesOut += chunk.length
    this.#deps.metrics.bytesOut += chunk.length
    this.#pass(chunk, 'upstream', this.#fromUpstream)
  }

  #pass(chunk: Buffer, side: Side, frames: FrameWatch): void {
    if (this.#over) return
    const { client, upstream } = this.#deps
    const [from, to, toSide] =
      side === 'client' ? [client, upstream, 'upstream' as const] : [upstream, client, 'client' as const]
    this.#clock.moved()
    if (frames.closeCode === undefined) {
      frames.feed(chunk)
      if (frames.closeCode !== undefined && this.#code === undefined) {
        this.#by ??= side
        this.#code = frames.closeCode
      }
    }
    if (to.destroyed || to.writableEnded) return
    if (to.write(chunk)) return
    from.pause()
    // Below TLS is where the kernel's progress shows.
    this.#clock.blocked(toSide, toSide === 'upstream' ? (this.#deps.connection.rawSocket ?? to) : to)
  }

  /** FIN: nothing more comes from there; the other direction goes on. */
  #ended(side: Side, from: Socket, to: Socket): void {
    if (side === 'client') this.#clientEnded = true
    else this.#upstreamEnded = true
    // Once our own FIN was taken, the kernel has no peer's name either way: the peer's FIN, too, closes it for good then.
    const hidden =
      !from.writableFinished && wasReset(side === 'upstream' ? (this.#deps.connection.rawSocket ?? from) : from)
    if (hidden) {
      this.#error ??= connectionReset()
      this.#by ??= side
      this.#broken(side)
      return
    }
    this.#by ??= side
    this.#clock.moved()
    if (!to.destroyed) to.end()
  }

  #closed(side: Side, other: Side): void {
    if (this.#over) return
    const { client, upstream } = this.#deps
    const bothEnded = this.#clientEnded && this.#upstreamEnded
    if (!bothEnded || this.#error !== undefined) {
      this.#broken(side)
      return
    }
    const left = other === 'client' ? client : upstream
    // What was received from there is on its way to the other: it closes by itself when that is written.
    if (!left.destroyed && !left.closed) return
    this.#end(this.#orderly())
  }

  /** One side is gone without having ended: unless goodbye was said before, something broke. */
  #broken(side: Side): void {
    const other = side === 'client' ? this.#deps.upstream : this.#deps.client
    if (this.#code !== undefined && !other.destroyed && !other.writableEnded) {
      // After goodbye a peer may break off; what it said before that still arrives.
      if (side === 'client') this.#clientEnded = true
      else this.#upstreamEnded = true
      other.end()
      other.resume()
      return
    }
    if (this.#code !== undefined || (this.#error === undefined && this.#clientEnded && this.#upstreamEnded)) {
      this.#end(this.#orderly())
      return
    }
    this.#end({
      outcome: 'tunnel_error',
      party: side,
      by: this.#by ?? side,
      code: NO_CLOSE_FRAME,
      error: this.#error,
    })
  }

  #orderly(): SessionEnding {
    const by: ClosedBy = this.#by ?? 'client'
    return { outcome: 'tunnel_closed', party: 'none', by, code: this.#code ?? NO_CLOSE_FRAME }
  }

  #end(ending: SessionEnding): void {
    if (this.#over) return
    this.#over = true
    this.#clock.stop()
    // By RST: what one side did not get, the other must not believe delivered. The upstream's is its connection's to cut.
    sever(this.#deps.client)
    this.#events.sessionEnded(ending)
  }
}

function connectionReset(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
}
