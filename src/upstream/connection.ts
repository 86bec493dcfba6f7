/**
 * One connection to an endpoint, and the slot it fills: it dials, writes one request at a time, reads the response, and
 * says what happens to whoever has borrowed it. Nothing waits in it: the queue is the upstream's.
 */
import type { Socket } from 'node:net'
import type { Place } from '../roster.ts'
import { sever } from '../sever.ts'
import { type Dial, type DialEvents, dial } from './dial.ts'
import type { Endpoint } from './endpoint.ts'
import { IdleClock } from './idle-clock.ts'
import { type BodySink, requestText, type UpstreamRequest } from './request.ts'
import type { UpstreamHead } from './response-head.ts'
import { type ResponseEvents, ResponseReader } from './response-reader.ts'

/** Who uses a connection now: the upstream side of an exchange. */
export interface Borrower extends DialEvents {
  /** The connection can be written to. */
  dialled(): void
  /** The request is being written. */
  writing(): void
  /** The last byte of the request was handed to the socket. */
  sent(): void
  /** The first byte of a response is here. */
  responseStarted(): void
  interim(status: number, headers: readonly string[]): void
  /** @returns false where the body should wait */
  head(head: UpstreamHead): boolean
  /** @returns false where the rest of the body should wait */
  data(chunk: Buffer): boolean
  /** The protocol was switched: `socket` is the borrower's from now on, paused. */
  upgraded(head: UpstreamHead, socket: Socket): void
  /** The response is over. @param trailers flat, name and value in turn */
  complete(trailers: readonly string[]): void
  /** The dial, the connection or the response has failed. */
  failed(error: Error): void
}

export type ConnectionState = 'connecting' | 'active' | 'idle'

/** The code of a connection that the upstream has ended by FIN where it should not have. */
export const ENDED = 'HOPGATE_ENDED'

export class Connection implements ResponseEvents, BodySink {
  readonly endpoint: Endpoint
  /** Among the open ones of its endpoint. */
  place: Place<Connection> | undefined
  /** Requests served before the present one. */
  served = 0
  /** What the socket said when it broke; also set for a reset that Node hides (see `wasReset`). */
  broke: Error | undefined
  /** The endpoint has sent its FIN. */
  peerEnded = false
  #borrower: Borrower | undefined
  #request: UpstreamRequest | undefined
  readonly #reader = new ResponseReader(this)
  #responseStarted = false
  /** Of the final response to the present request; undefined: it is not here yet. */
  #head: UpstreamHead | undefined
  /** Bytes came behind the response: whose answer is next on this connection, nobody could tell. */
  #overrun = false
  #upgraded = false
  #paused = false
  #dial: Dial | undefined
  #socket: Socket | undefined
  #raw: Socket | undefined
  #bornAt = 0
  #closed = false
  #killed: Error | undefined
  /** When the connection was killed, monotonic ms, and who wants to know how long the close took. */
  #killedAt = 0
  #onKilled: ((tookMs: number) => void) | undefined
  readonly #idle: IdleClock

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
    this.#idle = new IdleClock(this, endpoint.pool.keepaliveMs)
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

  /** The endpoint has sent FIN or RST. */
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

  /** The callback of an empty write tells when all that waits before it has left. */
  onceFlushed(flushed: () => void): void {
    const socket = this.#socket
    socket?.write('', error => {
      if (!error && this.#socket === socket) flushed()
    })
  }

  ageMs(at: number): number {
    return at - this.#bornAt
  }

  /** Takes the slot, and with it the word on all that happens. */
  borrow(borrower: Borrower): void {
    this.#borrower = borrower
    this.endpoint.borrowed++
  }

  /** Sends the borrower's request, once there is a connection. */
  send(request: UpstreamRequest): void {
    this.#request = request
    this.#head = undefined
    this.#responseStarted = false
    if (this.#socket === undefined) this.#connect()
    else this.#write(this.#socket, request)
  }

  /** The borrower is done with a response that is over: the connection may serve another. */
  release(): void {
    if (!this.#letGo()) return
    // An upstream that has refused to switch may all the same take what follows for the other protocol.
    const refused = this.#request?.upgrade !== undefined
    this.#request = undefined
    const socket = this.#socket
    if (this.#closed || socket === undefined) return
    if (refused || !this.#isReusable(socket) || !this.#idle.start(this.#head?.keepAliveHint ?? -1)) {
      this.retire()
      return
    }
    this.resume()
    this.served++
    this.endpoint.connectionFree(this)
  }

  /** Goes on with a body that was told to wait. */
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#socket?.resume()
  }

  /**
   * Ends the connection at once by RST. A FIN would leave a TIME_WAIT here for each abort (470 aborts a second exhaust
   * the port range: haproxy#136) and would let the upstream work on.
   * @param closed called when the socket is gone, with how long it took in ms.
   */
  kill(reason: Error, closed?: (tookMs: number) => void): void {
    this.#killed ??= reason
    const wasBorrowed = this.#letGo()
    this.#reader.stop()
    if (this.#closed || this.#killedAt !== 0) {
      if (wasBorrowed && this.#closed) this.endpoint.connectionClosed(this)
      return
    }
    this.#killedAt = performance.now()
    this.#onKilled = closed
    if (this.#raw !== undefined) {
      // Below TLS first: TLSSocket has no reset of its own, and destroying it alone would send a FIN.
      sever(this.#raw, reason)
      this.#socket?.destroy(reason)
    } else if (this.#request === undefined) {
      // Given up before anything was asked of it.
      this.#onClose(reason)
    } else {
      this.#dial?.cancel(reason)
    }
  }

  /** Ends an unused connection in the orderly way. */
  retire(): void {
    const socket = this.#socket
    // At once: a request that came before the close would only find it dead.
    if (this.#borrower === undefined && this.#killedAt === 0) this.#onClose()
    socket?.destroy()
  }

  /** The borrower has heard that the connection ended by itself. */
  ended(): void {
    if (!this.#letGo()) return
    if (this.#closed) this.endpoint.connectionClosed(this)
    else this.retire()
  }

  // ---- the request body ----

  write(chunk: Buffer): boolean {
    const socket = this.#socket
    if (socket === undefined || this.#request === undefined || chunk.length === 0) return true
    if (this.#request.chunked) {
      socket.cork()
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      socket.write(chunk)
      socket.write('\r\n', 'latin1')
      socket.uncork()
    } else {
      socket.write(chunk)
    }
    // What the kernel has taken at once wants no waiting, however much it was.
    return socket.writableLength === 0 || !socket.writableNeedDrain
  }

  end(): void {
    if (this.#request?.chunked === true) this.#socket?.write('0\r\n\r\n', 'latin1')
    this.#borrower?.sent()
  }

  // ---- the response, as it is read ----

  interim(status: number, headers: readonly string[]): void {
    this.#borrower?.interim(status, headers)
  }

  head(head: UpstreamHead): void {
    this.#head = head
    if (head.status === 101) this.#upgraded = true
    else if (this.#borrower?.head(head) === false) this.#pause()
  }

  data(chunk: Buffer): void {
    if (this.#borrower?.data(chunk) === false) this.#pause()
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket?.pause()
  }

  #read(bytes: Buffer): void {
    const borrower = this.#borrower
    const reader = this.#reader
    if (borrower === undefined || reader.idle) {
      // Nobody has asked for these.
      if (borrower === undefined) this.retire()
      return
    }
    if (!this.#responseStarted) {
      this.#responseStarted = true
      borrower.responseStarted()
    }
    let consumed: number
    try {
      consumed = reader.read(bytes)
    } catch (error) {
      this.#fail(error as Error)
      return
    }
    if (this.#borrower !== borrower || !reader.idle) return
    if (this.#upgraded) this.#handOver(borrower, bytes.subarray(consumed))
    else {
      this.#overrun = consumed < bytes.length
      borrower.complete(reader.trailers)
    }
  }

  #handOver(borrower: Borrower, rest: Buffer): void {
    const socket = this.#socket
    if (socket === undefined || this.#head === undefined) return
    socket.removeAllListeners('data')
    socket.removeAllListeners('drain')
    socket.pause()
    if (rest.length > 0) socket.unshift(rest)
    borrower.upgraded(this.#head, socket)
  }

  #fail(error: Error): void {
    this.#reader.stop()
    this.#borrower?.failed(error)
  }

  // ---- the socket ----

  #connect(): void {
    const borrower = this.#borrower
    if (borrower === undefined) return
    const dialling = dial(this.endpoint.config, this.endpoint.tls, borrower, (error, dialled) => {
      this.#dial = undefined
      if (error !== null || dialled === null) {
        this.#onClose(error)
        return
      }
      this.#watch(dialled.socket, dialled.raw)
      this.#borrower?.dialled()
      if (this.#request !== undefined) this.#write(dialled.socket, this.#request)
    })
    if (this.#closed) return
    this.#dial = dialling
    // Given up while the dial announced its first stage.
    if (this.#killed !== undefined) dialling.cancel(this.#killed)
  }

  #watch(socket: Socket, raw: Socket): void {
    this.#socket = socket
    this.#raw = raw
    this.#bornAt = performance.now()
    const remember = (error: Error): void => {
      this.broke ??= error
      if (this.#borrower === undefined) this.retire()
    }
    raw.on('error', remember)
    if (socket !== raw) socket.on('error', remember)
    socket.on('data', bytes => this.#read(bytes))
    socket.on('drain', () => this.#request?.body?.drained())
    socket.on('end', () => this.#onEnd(raw))
    socket.on('close', () => this.#onClose())
  }

  #write(socket: Socket, request: UpstreamRequest): void {
    const borrower = this.#borrower
    if (borrower === undefined) return
    borrower.writing()
    this.#reader.expect(request.method, request.upgrade !== undefined)
    const text = requestText(request, this.endpoint.config.authority)
    if (request.body === null) {
      socket.write(text, 'latin1')
      borrower.sent()
      return
    }
    // The head, and what is here of the body, in one.
    socket.cork()
    socket.write(text, 'latin1')
    request.body.start(this)
    socket.uncork()
  }

  #onEnd(raw: Socket): void {
    this.peerEnded = true
    if (wasReset(raw)) this.broke ??= Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
    if (this.#upgraded) return
    const borrower = this.#borrower
    if (borrower === undefined) this.retire()
    else if (this.broke === undefined && this.#head !== undefined && this.#reader.finish()) {
      borrower.complete(this.#reader.trailers)
    } else this.#fail(this.broke ?? ended())
  }

  #onClose(error?: Error | null): void {
    if (this.#closed) return
    this.#closed = true
    this.#idle.stop()
    this.#socket = undefined
    this.#raw = undefined
    if (this.#killedAt !== 0) this.#onKilled?.(performance.now() - this.#killedAt)
    // While borrowed, the slot stays taken until the borrower has heard of the end and lets go.
    if (this.#borrower === undefined) this.endpoint.connectionClosed(this)
    else if (!this.#upgraded) this.#fail(this.broke ?? error ?? ended())
  }

  /** Whoever asks next on this connection will read the answer to that. */
  #isReusable(socket: Socket): boolean {
    if (this.#head?.keepAlive !== true || !this.#reader.idle || this.#overrun) return false
    if (this.peerEnded || socket.destroyed) return false
    // Bytes of the request that the upstream may never take; and, read while the response was paused, bytes behind it.
    return socket.writableLength === 0 && socket.readableLength === 0
  }

  #letGo(): boolean {
    if (this.#borrower === undefined) return false
    this.#borrower = undefined
    this.endpoint.borrowed--
    this.endpoint.slotReturned()
    return true
  }
}

function ended(): Error {
  return Object.assign(new Error('the upstream ended the connection'), { code: ENDED })
}

/**
 * On Node 20 a RST that arrives together with data, or while reading is paused, shows as a clean `end` (40 of 40;
 * Node 24 reports ECONNRESET). The kernel remembers: after a FIN the peer's name is still there, after a RST it is not.
 */
export function wasReset(raw: Socket): boolean {
  const handle = (raw as unknown as { _handle: { getpeername?(out: object): number } | null })._handle
  return handle?.getpeername !== undefined && handle.getpeername({}) !== 0
}
