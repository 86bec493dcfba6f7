import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { AWAIT_MS, deferred, within } from './awaiting.ts'
import type { Leave, Pace } from './faults.ts'
import { MessageParser } from './message-parser.ts'
import { type RawRequest, requestBody, requestHead } from './raw-request.ts'
import { PendingResponse, type RawResponse } from './raw-response.ts'
import { resetNow, wasReset } from './sever.ts'
import { type SocketEnds, watchPeer } from './socket-table.ts'

export interface ClientOptions {
  /** Bound of every await on this client, ms; default 10 s. */
  readonly timeoutMs?: number
  /** Read nothing from the start; `resume()` begins. */
  readonly paused?: boolean
}

export interface ClientEnd {
  /** Who ended it: the server by FIN or RST, or we. */
  readonly how: Leave | 'us'
  /** `performance.now()` ms. */
  readonly at: number
}

const FIN_ALONE_MS = 100

/** Connects to 127.0.0.1. A dial that is refused rejects with its errno code, one that hangs after `timeoutMs`. */
export async function openClient(port: number, options: ClientOptions = {}): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  const client = new RawClient(socket, options)
  try {
    await within(once(socket, 'connect'), client.timeoutMs, `connection to port ${port}`)
  } catch (error) {
    socket.destroy()
    throw error
  }
  return client
}

/** One request on a connection of its own, which is closed afterwards. */
export async function requestOnce(
  port: number,
  request: RawRequest = {},
  options: ClientOptions = {},
): Promise<RawResponse> {
  const client = await openClient(port, options)
  try {
    return await client.request(request).response
  } finally {
    client.leave('rst')
  }
}

/** One client connection, as ill-behaved as its test wants. */
export class RawClient implements SocketEnds {
  readonly timeoutMs: number
  readonly #socket: Socket
  readonly #pending: PendingResponse[] = []
  readonly #end = deferred<ClientEnd>()
  readonly #parser: MessageParser
  #ended: ClientEnd | undefined
  #stopWatching: (() => void) | undefined
  #pace: Pace | undefined

  constructor(socket: Socket, options: ClientOptions) {
    this.timeoutMs = options.timeoutMs ?? AWAIT_MS
    this.#socket = socket
    this.#parser = new MessageParser({
      head: head => this.#current().takeHead(head),
      body: bytes => this.#pending[0]?.takeBody(bytes),
      end: trailers => this.#pending.shift()?.takeEnd(trailers, this.#ended?.how ?? 'open'),
    })
    if (options.paused) socket.once('connect', () => this.pause())
    if (options.paused) socket.pause()
    socket.on('data', bytes => this.#take(bytes))
    socket.on('end', () => {
      this.#settle(wasReset(socket) ? 'rst' : 'fin')
      socket.end()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') this.#settle('rst')
    })
    socket.on('close', () => this.#settle('us'))
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0
  }

  get remotePort(): number {
    return this.#socket.remotePort ?? 0
  }

  get bytesRead(): number {
    return this.#socket.bytesRead
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten
  }

  /** Settles at the server's FIN or RST (seen within about 25 ms even while paused), or at `leave`. */
  get closed(): Promise<ClientEnd> {
    return within(this.#end.promise, this.timeoutMs, `end of the connection to port ${this.remotePort}`)
  }

  get ended(): ClientEnd | undefined {
    return this.#ended
  }

  /** Resolves when the kernel has taken the bytes; with a server that does not read, rejects after `timeoutMs`. */
  send(bytes: string | Buffer): Promise<void> {
    const taken = deferred<void>()
    this.#socket.write(bytes, error => (error ? taken.reject(error) : taken.resolve()))
    return within(taken.promise, this.timeoutMs, `room for ${bytes.length} bytes in the socket`)
  }

  /** The same for a peer who may have left: then nothing is sent, and that is no error. */
  async sendUnlessGone(bytes: string | Buffer): Promise<void> {
    if (!this.#ended) await this.send(bytes).catch(() => {})
  }

  /** Sends slowly: headers a byte at a time, a trickled upload. Stops, without error, when the connection ends. */
  async drip(bytes: string | Buffer, pace: Pace): Promise<void> {
    const all = Buffer.from(bytes)
    for (let sent = 0; sent < all.length && !this.#ended; sent += pace.bytesPerTick) {
      if (sent > 0) await delay(pace.tickMs)
      await this.sendUnlessGone(all.subarray(sent, sent + pace.bytesPerTick))
    }
  }

  /** Sends a whole request. Several at once are pipelined; their responses come in this order. */
  request(request: RawRequest = {}): PendingResponse {
    const pending = this.expect(request.method)
    this.#socket.write(requestHead(request, this.remotePort))
    for (const slice of requestBody(request)) this.#socket.write(slice)
    return pending
  }

  /** Sends only the head of a request that says it has a body; what follows is sent by hand. */
  requestHead(request: RawRequest): PendingResponse {
    const pending = this.expect(request.method)
    this.#socket.write(requestHead(request, this.remotePort))
    return pending
  }

  /** The response to what is sent by hand, or to nothing (a 408). `method` HEAD has no body. */
  expect(method = 'GET'): PendingResponse {
    const pending = new PendingResponse(method, this.timeoutMs)
    this.#pending.push(pending)
    if (this.#ended) pending.takeClose(this.#ended.how)
    return pending
  }

  /** Stops reading: node takes at most 128 KiB more, then the kernel's buffers fill (some MB on loopback). */
  pause(): void {
    this.#socket.pause()
    // Only noted: what came before the end can still be read after `resume()`.
    this.#stopWatching ??= watchPeer(this, how => this.#note(how))
  }

  resume(): void {
    this.#stopWatching?.()
    this.#stopWatching = undefined
    this.#pace = undefined
    this.#socket.resume()
  }

  /** Reads at this pace on average, in the slices the kernel hands over (up to 64 KiB). */
  readSlowly(pace: Pace): void {
    this.resume()
    this.#pace = pace
  }

  /** FIN after what was sent; the response is still read. */
  halfClose(): void {
    this.#socket.end()
  }

  /**
   * Goes away now. A RST drops what the kernel has not yet sent. A FIN is left alone on the wire for 100 ms, then the
   * descriptor is closed: a close() at once, with unread bytes, would send a RST right behind it or in its stead (RFC
   * 2525 2.17). With writes held up it is that close() all the same: the kernel sends what it has, and then the FIN.
   */
  leave(how: Leave): void {
    this.#settle('us')
    if (how === 'rst') resetNow(this.#socket)
    else if (this.#socket.writableLength > 0) this.#socket.destroy()
    else {
      this.#socket.end()
      const closing = setTimeout(() => this.#socket.destroy(), FIN_ALONE_MS)
      this.#socket.once('close', () => clearTimeout(closing))
    }
  }

  #take(bytes: Buffer): void {
    if (this.#ended?.how === 'us') return
    const pace = this.#pace
    if (pace) {
      this.pause()
      setTimeout(
        () => {
          if (this.#pace === pace && !this.#socket.destroyed) this.readSlowly(pace)
        },
        (bytes.length / pace.bytesPerTick) * pace.tickMs,
      ).unref()
    }
    try {
      this.#pending[0]?.takeBytes()
      this.#parser.push(bytes)
    } catch (error) {
      for (const pending of this.#pending.splice(0)) pending.takeGarbage(String(error))
      resetNow(this.#socket)
    }
  }

  #current(): PendingResponse {
    return this.#pending[0] ?? this.expect()
  }

  #note(how: ClientEnd['how']): void {
    if (this.#ended) return
    this.#ended = { how, at: performance.now() }
    this.#end.resolve(this.#ended)
  }

  #settle(how: ClientEnd['how']): void {
    this.#note(how)
    this.#stopWatching?.()
    if (this.#ended?.how === 'fin') this.#parser.finish()
    for (const pending of this.#pending.splice(0)) pending.takeClose(this.#ended?.how ?? how)
  }
}
