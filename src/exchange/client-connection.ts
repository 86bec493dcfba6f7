/** One client connection: who is there, the requests that come on it, which exchange is on, how long it may idle, and how it ends. */
import type { Socket } from 'node:net'
import { isNotHttp, type NotHttp, notHttp } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import { type RequestEvents, RequestReader } from '../http1/request-reader.ts'
import { Outlet } from '../outlet.ts'
import { bytesOf, giveBack, type OnRead, ReadBuffer } from '../read-buffer.ts'
import type { Place } from '../roster.ts'
import { Alarm, now, type TimerLedger } from './alarm.ts'
import { ConnectionClock } from './connection-clock.ts'
import { linger } from './linger.ts'
import type { Peer } from './peer.ts'
import type { Vanished, Watch, Watched } from './vanished.ts'

/** The exchange that a connection carries now, as far as the connection must know it. */
export interface ConnectionUser {
  /** A piece of the request's body: gone when this returns, unless it is of a buffer that `bodyRead` hands over. */
  bodyData(chunk: Buffer): void
  /** What one large read has brought was told. @param buffer what it was read into: the exchange's, to be given back */
  bodyRead(buffer: Buffer): void
  bodyEnd(trailers: readonly string[]): void
  /** What the client sent for a body is none. */
  clientMalformed(error: Error): void
  /** Something of ours failed. */
  fail(error: Error): void
  /** The client has sent its FIN: it will not read on (nginx and Node treat a half-closed client so too). */
  clientEnded(): void
  /** The connection is gone. */
  clientClosed(): void
}

/** A response that is being written. */
export interface Response {
  /** Its last byte has left. */
  flushed(): void
}

/** What a connection tells its server. */
export interface ConnectionEvents {
  /** A request whose turn it is. Its body, if it has one, follows. */
  request(connection: ClientConnection, head: ClientHead): void
  /** What came is no request. Nothing that follows it is read. */
  malformed(connection: ClientConnection, error: NotHttp): void
  /** `listen.timeouts.headers` is over. @param overrunMs how late we are */
  headersTimedOut(connection: ClientConnection, overrunMs: number): void
  /** `listen.timeouts.keepalive` is over, and the connection closed. */
  idleClosed(overrunMs: number): void
  closed(connection: ClientConnection): void
}

export interface ConnectionLimits {
  readonly headBytes: number
  /** ms; Infinity: off. */
  readonly headersMs: number
  readonly keepaliveMs: number
}

/** Of requests that wait for their turn: a client that sends more is not read for a while. */
const MOST_WAITING_BYTES = 64 * 1024

export class ClientConnection implements RequestEvents, Watched {
  readonly socket: Socket
  readonly out: Outlet
  /** Its own, and that of the exchange that is on. */
  readonly alarm: Alarm
  readonly peer: Peer
  user: ConnectionUser | undefined
  /** The response that is under way is the last: nothing that comes after it is served (RFC 9112 section 9.6). */
  closing = false
  /** Bytes that waited at the socket when it broke: nobody will ever read them. */
  lostBytes = 0
  /** Among the clients that are connected. */
  place: Place<ClientConnection> | undefined
  watch: Place<Watch> | undefined
  readonly #events: ConnectionEvents
  readonly #vanished: Vanished
  readonly #reader: RequestReader
  readonly #buffer = new ReadBuffer()
  readonly #clock: ConnectionClock
  /** What has not left yet of a response: its exchange may be over. */
  #response: Response | undefined
  #served = false
  /** The client has sent its FIN. */
  #ended = false
  /** It has said that it will send no other request. */
  #lastByClient = false
  #upgraded = false
  #prompt = false
  #paused = false
  /** What came behind the present request. */
  #waiting: Buffer | undefined

  /** @param open makes the socket, which tells at once what it reads */
  constructor(
    open: (onread: OnRead) => { readonly socket: Socket; readonly peer: Peer },
    limits: ConnectionLimits,
    ledger: TimerLedger,
    vanished: Vanished,
    events: ConnectionEvents,
  ) {
    this.#events = events
    this.#vanished = vanished
    this.#reader = new RequestReader(this, limits.headBytes)
    this.alarm = new Alarm(ledger)
    this.#clock = new ConnectionClock(limits, this.alarm, this)
    const { socket, peer } = open({
      buffer: () => this.#buffer.next(this.#reader.inBody && !this.#paused),
      callback: (length, buffer) => this.#readInto(length, buffer),
    })
    this.socket = socket
    this.out = new Outlet(socket, () => this.#response?.flushed())
    this.peer = peer
    // The one moment at which Node still knows what was never delivered; at `close` every counter reads 0 (measured).
    socket.on('error', () => {
      this.lostBytes = this.out.pending
    })
    socket.on('end', () => this.#onEnd())
    socket.on('close', () => this.#onClose())
  }

  /** It has served, and nothing of a next request is here. */
  get idle(): boolean {
    return this.#served && this.user === undefined && this.#response === undefined && !this.#reader.inHead
  }

  /** The present request's body is not here whole. */
  get receiving(): boolean {
    return this.#reader.inBody
  }

  /** An exchange begins. */
  busy(user: ConnectionUser): void {
    this.user = user
  }

  /** Its response begins. */
  responding(response: Response): void {
    this.#response = response
  }

  /** The response has left. */
  responded(): void {
    this.#response = undefined
    if (this.closing) this.#close()
    else if (this.user === undefined) this.#next()
  }

  /** The exchange is over: `listen.timeouts.keepalive` runs until the first byte of the next. @param at now, monotonic ms */
  over(user: ConnectionUser, at = now()): void {
    if (this.user !== user) return
    this.user = undefined
    this.#served = true
    if (!this.#upgraded) this.#clock.idles(at)
    if (this.#response === undefined) this.#next()
  }

  /** What is written leaves at once from now on: Nagle's algorithm would hold back the end of it (RFC 9293 section 3.7.4). */
  promptly(): void {
    if (this.#prompt) return
    this.#prompt = true
    this.socket.setNoDelay(true)
  }

  /** Reads no more of a body for now. */
  pause(): void {
    this.#paused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.socket.resume()
  }

  /** The connection leaves HTTP: its socket is a stream from now on, with what came behind the request. */
  upgrade(): void {
    this.#upgraded = true
    this.promptly()
  }

  // ---- what is read ----

  head(head: ClientHead): void {
    this.#clock.stop()
    this.#lastByClient = !head.keepAlive
    this.#events.request(this, head)
  }

  data(chunk: Buffer): void {
    this.user?.bodyData(chunk)
  }

  bodyEnd(trailers: readonly string[]): void {
    this.user?.bodyEnd(trailers)
  }

  /** @returns false where the socket should be read no more for now */
  #readInto(length: number, buffer: Uint8Array): boolean {
    const large = this.#buffer.take(length)
    const bytes = bytesOf(buffer, length)
    if (this.#upgraded) return this.socket.push(Buffer.from(bytes))
    const { user } = this
    this.#read(bytes)
    // Where the exchange has ended meanwhile, some of its bytes may still wait somewhere: the garbage collector's.
    if (large !== undefined && user !== undefined && this.user === user) user.bodyRead(large)
    return true
  }

  /** @param kept `bytes` stay what they are when this returns */
  #read(bytes: Buffer, kept = false): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#reader.inBody) {
        if (this.user === undefined) return
      } else if (this.closing) return
      else if (this.user !== undefined || this.#response !== undefined) {
        this.#wait(bytes.subarray(at), kept)
        return
      }
      try {
        at = this.#reader.read(bytes, at)
      } catch (error) {
        if (isNotHttp(error)) this.#refuse(error)
        else this.#fail(error as Error)
        return
      }
      if (this.#upgraded) {
        if (at < bytes.length) this.socket.push(Buffer.from(bytes.subarray(at)))
        return
      }
    }
    if (this.#reader.inHead) this.#clock.begins()
  }

  #refuse(error: NotHttp): void {
    const { user } = this
    this.#reader.stop()
    this.closing = true
    if (user !== undefined) {
      user.clientMalformed(error)
    } else {
      this.#clock.stop()
      this.#events.malformed(this, error)
    }
  }

  /** Something of ours failed, in whoever was told of what came. */
  #fail(error: Error): void {
    const { user } = this
    if (user === undefined) throw error
    this.#reader.stop()
    this.closing = true
    user.fail(error)
  }

  /**
   * One exchange at a time: the responses of several would share one socket, whose progress then says nothing about any.
   * What is behind the present request stays bytes until its turn.
   */
  #wait(rest: Buffer, kept: boolean): void {
    if (this.#waiting !== undefined) this.#waiting = Buffer.concat([this.#waiting, rest])
    else this.#waiting = kept ? rest : Buffer.from(rest)
    if (this.#waiting.length < MOST_WAITING_BYTES || this.#paused) return
    this.pause()
    this.#vanished.watch(this)
  }

  #next(): void {
    if (this.closing || this.#upgraded || this.socket.destroyed) return
    if (this.#ended) {
      this.socket.destroy()
      return
    }
    this.#vanished.unwatch(this)
    // Before anything of the next request is told, which may make us pause anew.
    this.resume()
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) this.#read(waiting, true)
  }

  // ---- how it ends ----

  /** The client, whom nobody reads from, is gone. */
  vanished(): void {
    this.#vanished.unwatch(this)
    this.#onEnd()
  }

  headersDue(overrunMs: number): void {
    this.#events.headersTimedOut(this, overrunMs)
  }

  idleDue(overrunMs: number): void {
    this.#events.idleClosed(overrunMs)
    this.socket.destroy()
  }

  /** Behind the last response. At once, where the client has said that it will send no more. */
  #close(): void {
    const { socket } = this
    this.#clock.stop()
    const quiet = this.#lastByClient && !this.#reader.inBody && this.#waiting === undefined
    // Not within the callback of a write: Node would make an error, with its stack, for writes that are not there (4 us).
    if (quiet) process.nextTick(destroy, socket)
    else linger(socket)
  }

  #onEnd(): void {
    this.#ended = true
    if (this.user !== undefined) this.user.clientEnded()
    else if (this.#reader.inHead && !this.closing) this.#refuse(notHttp('a head that ends before its end'))
    else if (this.#response === undefined && !this.#upgraded) this.socket.destroy()
  }

  #onClose(): void {
    this.#clock.end()
    this.#vanished.unwatch(this)
    const unread = this.#buffer.take(0)
    if (unread !== undefined) giveBack(unread)
    this.user?.clientClosed()
    this.#events.closed(this)
  }
}

function destroy(socket: Socket): void {
  socket.destroy()
}
