/**
 * One connection to an endpoint, and the slot it fills: an undici Client of our own for each, so that nothing ever
 * waits in a queue that is not ours (undici's is unbounded, and deaf to cancellation while it waits), and so that this
 * very socket can be reset, aged and watched.
 */
import type { Socket } from 'node:net'
import { Client, type Dispatcher } from 'undici'
import type { Place } from '../roster.ts'
import { sever } from '../sever.ts'
import type { Dial, DialEvents, Dialled, DialStage } from './dial.ts'
import { dial } from './dial.ts'
import type { Endpoint } from './endpoint.ts'
import { VersionWatch } from './version-watch.ts'

/** Who uses a connection now: the upstream side of an exchange. */
export interface Borrower extends DialEvents {
  /** The connection can be written to. */
  dialled(): void
  /** The endpoint has said FIN: what it sent before that cannot be held up any more. */
  peerEnded(): void
}

export type ConnectionState = 'connecting' | 'active' | 'idle'

export class Connection {
  readonly endpoint: Endpoint
  /** Among the open ones of its endpoint. */
  place: Place<Connection> | undefined
  /** Requests served before the present one. */
  served = 0
  /** What the socket said when it broke; also set for a reset that Node hides (see `watch`). */
  broke: Error | undefined
  /** The endpoint has sent its FIN. */
  peerEnded = false
  /** What the response under way calls itself. */
  readonly version = new VersionWatch()
  #borrower: Borrower | undefined
  readonly #client: Client
  #dial: Dial | undefined
  #socket: Socket | undefined
  #raw: Socket | undefined
  #bornAt = 0
  #closed = false
  #killed: Error | undefined
  /** When the connection was killed, monotonic ms, and who wants to know how long the close took. */
  #killedAt = 0
  #onKilled: ((tookMs: number) => void) | undefined

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
    this.#client = new Client(endpoint.httpOrigin, {
      pipelining: 1,
      connect: (_options: unknown, callback: (error: Error | null, socket: Socket | null) => void) =>
        this.#connect(callback),
      // undici's timers tick every 500 ms (measured) and start in the wrong places: ours are the promise.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: endpoint.pool.keepaliveMs,
      keepAliveMaxTimeout: endpoint.pool.keepaliveMs,
      // Taken off the upstream's own `Keep-Alive: timeout` hint, in whole seconds, so that we close before it does.
      keepAliveTimeoutThreshold: 1000,
      maxHeaderSize: 64 * 1024,
    } as ConstructorParameters<typeof Client>[1])
  }

  get state(): ConnectionState {
    if (this.#borrower === undefined) return 'idle'
    return this.#socket === undefined ? 'connecting' : 'active'
  }

  get borrowed(): boolean {
    return this.#borrower !== undefined
  }

  get closed(): boolean {
    return this.#closed
  }

  /** The endpoint has sent FIN or RST. What undici's idle timer closes breaks with another code. */
  get endedByPeer(): boolean {
    return this.peerEnded || (this.broke as NodeJS.ErrnoException | undefined)?.code === 'ECONNRESET'
  }

  /** The socket HTTP is spoken on; undefined while dialling. */
  get socket(): Socket | undefined {
    return this.#socket
  }

  /** The TCP socket, below TLS: where the kernel's progress shows. */
  get rawSocket(): Socket | undefined {
    return this.#raw
  }

  /** Bytes wait at the socket. With TLS some always do, for a turn. */
  get writing(): boolean {
    return this.#socket !== undefined && this.#socket.writableLength > 0
  }

  /** The callback of an empty write tells when all that waits before it has left; their own belong to undici. */
  onceFlushed(flushed: () => void): void {
    const socket = this.#socket
    socket?.write('', error => {
      if (!error && this.#socket === socket) flushed()
    })
  }

  ageMs(at: number): number {
    return at - this.#bornAt
  }

  borrow(borrower: Borrower): void {
    this.#borrower = borrower
    this.endpoint.borrowed++
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.version.expect()
    this.#client.dispatch(options, handler)
  }

  /** The borrower is done and the connection may serve another; undici has still to finish its own turn with it. */
  release(): void {
    if (this.#letGo()) process.nextTick(settleReleased, this)
  }

  /**
   * Ends the connection at once by RST. A FIN would leave a TIME_WAIT here for each abort (470 aborts a second exhaust
   * the port range: haproxy#136) and would let the upstream work on.
   * @param closed called when the socket is gone, with how long it took in ms.
   */
  kill(reason: Error, closed?: (tookMs: number) => void): void {
    this.#killed ??= reason
    const wasBorrowed = this.#letGo()
    if (this.#closed || this.#killedAt !== 0) {
      if (wasBorrowed && this.#closed) this.endpoint.connectionClosed(this)
      return
    }
    this.#killedAt = performance.now()
    this.#onKilled = closed
    if (this.#dial !== undefined) {
      this.#dial.cancel(reason)
    } else if (this.#raw !== undefined) {
      // Below TLS first: TLSSocket has no reset of its own, and destroying it alone would send a FIN.
      // With a reason: undici takes the close of a paused response without one for its end, and its parser asserts that
      // it is not paused (an uncaught exception, measured).
      sever(this.#raw, reason)
      this.#socket?.destroy(reason)
    } else {
      // Dispatched, but undici has not come to dial yet: its call of the connector will be refused.
      this.#onClose()
    }
  }

  /** Ends an unused connection in the orderly way. */
  retire(): void {
    this.#killed ??= new Error('retired')
    this.#socket?.destroy(this.#killed)
  }

  /** Called one tick after `release`, when undici has made up its mind whether the socket lives on. */
  settleReleased(): void {
    if (this.#closed || this.#socket === undefined || this.#socket.destroyed) return
    this.served++
    this.endpoint.connectionFree(this)
  }

  #letGo(): boolean {
    if (this.#borrower === undefined) return false
    this.#borrower = undefined
    this.endpoint.borrowed--
    this.endpoint.slotReturned()
    return true
  }

  /**
   * undici calls this for the first dispatch, and again when the idle socket died between a dispatch and its write
   * (it looks once more before it writes): nothing was sent then, so the same request simply gets a fresh dial.
   */
  #connect(callback: (error: Error | null, socket: Socket | null) => void): void {
    if (this.#killed !== undefined || this.#borrower === undefined) {
      callback(NOT_DIALLED, null)
      return
    }
    this.#closed = false
    this.served = 0
    this.broke = undefined
    this.peerEnded = false
    this.endpoint.reopened(this)
    this.#dial = dial(this.endpoint.config, this.endpoint.tls, this.#borrower, (error, dialled) => {
      this.#dial = undefined
      if (error !== null || dialled === null) {
        callback(error, null)
        this.#onClose()
        return
      }
      this.#watch(dialled)
      this.#borrower?.dialled()
      callback(null, dialled.socket)
    })
  }

  #watch({ socket, raw }: Dialled): void {
    this.#socket = socket
    this.#raw = raw
    this.#bornAt = performance.now()
    this.version.watch(socket)
    const remember = (error: Error): void => {
      const { code } = error as NodeJS.ErrnoException
      this.broke ??= code === 'ECONNRESET' ? connectionReset() : error
      // undici takes a reset behind a close-delimited body for its end (stack fact 28), and asserts that such a body is
      // not paused: an uncaught exception that any upstream could cause. Under another name it is an error like any.
      if (code === 'ECONNRESET') Object.assign(error, { code: 'HOPGATE_ECONNRESET' })
    }
    // Both before undici's own listeners, which are added when the connector's callback runs.
    raw.on('error', remember)
    if (socket !== raw) socket.on('error', remember)
    socket.on('end', () => {
      this.peerEnded = true
      if (wasReset(raw)) this.broke ??= connectionReset()
      // Before undici's own listener, whose parser asserts that the body is not paused.
      this.#borrower?.peerEnded()
    })
    socket.on('close', () => this.#onClose())
  }

  #onClose(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket = undefined
    this.#raw = undefined
    if (this.#killedAt !== 0) this.#onKilled?.(performance.now() - this.#killedAt)
    // While borrowed, the slot stays taken until the borrower has heard of the end and lets go.
    if (this.#borrower === undefined) this.endpoint.connectionClosed(this)
  }

  /** The borrower has heard that the connection ended by itself. */
  ended(): void {
    if (!this.#letGo()) return
    if (this.#closed) this.endpoint.connectionClosed(this)
    else this.retire()
  }
}

/**
 * Plain, whatever the connection was killed with: undici takes an error that bears one of its own socket codes for a
 * passing one, and dials again for ever (2 GB of requests in a minute, measured).
 */
const NOT_DIALLED = Object.assign(new Error('nobody waits for this connection'), { code: 'HOPGATE_NOT_DIALLED' })

function connectionReset(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
}

function settleReleased(connection: Connection): void {
  connection.settleReleased()
}

/**
 * On Node 20 a RST that arrives together with data, or while reading is paused, shows as a clean `end` (40 of 40;
 * Node 24 reports ECONNRESET). The kernel remembers: after a FIN the peer's name is still there, after a RST it is not.
 */
export function wasReset(raw: Socket): boolean {
  const handle = (raw as unknown as { _handle: { getpeername?(out: object): number } | null })._handle
  return handle?.getpeername !== undefined && handle.getpeername({}) !== 0
}

/** For labels. */
export type { DialStage }
