/**
 * One connection to an endpoint, and the slot it fills: it dials, writes one request at a time, reads the response, and
 * says what happens to whoever has borrowed it. Nothing waits in it: the queue is the upstream's.
 */
import type { Socket } from 'node:net'
import { type Fields, notHttp } from '../http1/fields.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import { type ResponseEvents, ResponseReader } from '../http1/response-reader.ts'
import { NEVER } from '../never.ts'
import { Outlet } from '../outlet.ts'
import { bytesOf, giveBack, ReadBuffer } from '../read-buffer.ts'
import type { Place } from '../roster.ts'
import { sever, wasReset } from '../sever.ts'
import { type Writer, writeLater } from '../write-batch.ts'
import { BodyWriter } from './body-writer.ts'
import type { Borrower } from './borrower.ts'
import { type Dial, dial } from './dial.ts'
import type { Endpoint } from './endpoint.ts'
import { IdleClock } from './idle-clock.ts'
import { requestText, type UpstreamRequest } from './request.ts'

export type ConnectionState = 'connecting' | 'active' | 'idle'

/** The code of a connection that the upstream has ended by FIN where it should not have. */
export const ENDED = 'HOPGATE_ENDED'

export class Connection implements ResponseEvents, Writer {
  readonly endpoint: Endpoint
  /** Among the open ones of its endpoint. */
  place: Place<Connection> | undefined
  /** Requests served before the present one. */
  served = 0
  /** In its life; of TLS what was in it. */
  bytesRead = 0
  /** What the socket said when it broke; also set for a reset that Node hides (`wasReset`). */
  broke: Error | undefined
  /** The endpoint has sent its FIN. */
  peerEnded = false
  #borrower: Borrower | undefined
  #request: UpstreamRequest | undefined
  readonly #reader = new ResponseReader(this)
  readonly #buffer = new ReadBuffer()
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
  /** Without TLS, of which some bytes always wait. */
  #out: Outlet | undefined
  #closed = false
  #killed: Error | undefined
  /** When the connection was killed, monotonic ms, and who wants to know how long the close took. */
  #killedAt = NEVER
  #onKilled: ((tookMs: number) => void) | undefined
  readonly #idle: IdleClock

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
    this.#idle = new IdleClock(this, endpoint.pool)
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
    return this.#unsent() > 0
  }

  #unsent(): number {
    return this.#out?.pending ?? this.#socket?.writableLength ?? 0
  }

  /** The callback of an empty write tells when all that waits before it has left. */
  onceFlushed(flushed: () => void): void {
    const socket = this.#socket
    socket?.write('', error => {
      if (!error && this.#socket === socket) flushed()
    })
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
    else if (request.body !== null) this.#write(this.#socket, request)
    else writeLater(this)
  }

  /** The turn is over in which a request was to be sent on a connection that was there. */
  flush(): void {
    // Not where the borrower has let go since, or has been given another one.
    if (this.#socket !== undefined && this.#request !== undefined && this.#reader.idle && this.#head === undefined) {
      this.#write(this.#socket, this.#request)
    }
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
    const asked = this.#request !== undefined
    this.#request = undefined
    this.#reader.stop()
    if (this.#closed || this.#killedAt !== NEVER) {
      if (wasBorrowed && this.#closed) this.endpoint.connectionClosed(this)
      return
    }
    this.#killedAt = performance.now()
    this.#onKilled = closed
    if (this.#raw !== undefined) {
      // Below TLS first: TLSSocket has no reset of its own, and destroying it alone would send a FIN.
      sever(this.#raw, reason)
      this.#socket?.destroy(reason)
    } else if (!asked) {
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
    if (this.#borrower === undefined && this.#killedAt === NEVER) this.#onClose()
    socket?.destroy()
  }

  /** The borrower has heard that the connection ended by itself. */
  ended(): void {
    if (!this.#letGo()) return
    if (this.#closed) this.endpoint.connectionClosed(this)
    else this.retire()
  }

  // ---- the response, as it is read ----

  interim(status: number, fields: Fields): void {
    this.#borrower?.interim(status, fields)
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

  /** Where the next bytes go. */
  #nextBuffer(): Buffer {
    return this.#buffer.next(!this.#reader.idle && this.#head !== undefined && !this.#paused)
  }

  #readInto(buffer: Uint8Array, length: number): boolean {
    const large = this.#buffer.take(length)
    const bytes = bytesOf(buffer, length)
    // The socket is a stream again, for whoever speaks the other protocol.
    if (this.#upgraded) return this.#socket?.push(Buffer.from(bytes)) ?? true
    const borrower = this.#borrower
    this.#read(bytes)
    if (large !== undefined) borrower?.readOver(large)
    return true
  }

  #read(bytes: Buffer): void {
    this.bytesRead += bytes.length
    const borrower = this.#borrower
    const reader = this.#reader
    if (borrower === undefined) {
      // Nobody has asked for these.
      this.retire()
      return
    }
    if (reader.idle) {
      // Nor for these: the request is not written yet, and what is here is no answer to it.
      if (!this.#upgraded && this.#head === undefined)
        this.#fail(this.served > 0 ? ended() : notHttp('an answer before the request'))
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
    if (rest.length > 0) socket.unshift(Buffer.from(rest))
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
    const onread = {
      buffer: () => this.#nextBuffer(),
      callback: (length: number, buffer: Uint8Array) => this.#readInto(buffer, length),
    }
    const dialling = dial(this.endpoint.config, this.endpoint.tls, borrower, onread, (error, dialled) => {
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
    if (socket === raw) this.#out = new Outlet(socket, nothing)
    this.#idle.born()
    const remember = (error: Error): void => {
      this.broke ??= error
      if (this.#borrower === undefined) this.retire()
    }
    raw.on('error', remember)
    if (socket !== raw) socket.on('error', remember)
    // Without TLS its bytes come by `onread`.
    if (socket === raw) socket.resume()
    else socket.on('data', bytes => this.#read(bytes))
    socket.on('drain', () => this.#request?.body?.drained())
    socket.on('end', () => this.#onEnd(raw))
    socket.on('close', () => this.#onClose())
  }

  #write(socket: Socket, request: UpstreamRequest): void {
    const borrower = this.#borrower
    if (borrower === undefined) return
    borrower.writing()
    if (this.#borrower !== borrower) return
    this.#reader.expect(request.method, request.upgrade !== undefined)
    const text = requestText(request, this.endpoint.config.authority)
    if (request.body === null) {
      if (this.#out === undefined) socket.write(text, 'latin1')
      else this.#out.write(text, false)
      borrower.sent()
      return
    }
    new BodyWriter(socket, request.body, request.chunked, borrower).begin(text)
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
    this.#idle.end()
    const unread = this.#buffer.take(0)
    if (unread !== undefined) giveBack(unread)
    this.#socket = undefined
    this.#raw = undefined
    this.#out = undefined
    if (this.#killedAt !== NEVER) this.#onKilled?.(performance.now() - this.#killedAt)
    // While borrowed, the slot stays taken until the borrower has heard of the end and lets go.
    if (this.#borrower === undefined) this.endpoint.connectionClosed(this)
    else if (!this.#upgraded) this.#fail(this.broke ?? error ?? ended())
  }

  /** Whoever asks next on this connection will read the answer to that. */
  #isReusable(socket: Socket): boolean {
    if (this.#head?.keepAlive !== true || !this.#reader.idle || this.#overrun) return false
    if (this.peerEnded || socket.destroyed) return false
    // Bytes of the request that the upstream may never take; and, with TLS, bytes that were read while the response was paused.
    return this.#unsent() === 0 && socket.readableLength === 0
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

/** Whoever waits for a request to leave says so by `onceFlushed`. */
function nothing(): void {}
