import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { AWAIT_MS, deferred, within } from './awaiting.ts'
import type { Leave, Pace } from './faults.ts'
import { resetNow, wasReset } from './sever.ts'
import { acknowledged, type SocketEnds, watchPeer } from './socket-table.ts'

/** How a connection ended. `us`: the faulty side ended it itself, by design or by `close()`. */
export interface ConnectionEnd {
  readonly how: Leave | 'us'
  /** When it was noticed, `performance.now()` ms: at once while we read, within about 25 ms while we do not. */
  readonly at: number
  /** The code of the error that came with it (a TLS alert, say). */
  readonly error?: string
}

/** The connection is over: what still wanted to be written on it is dropped. */
export class Gone extends Error {}

/** One accepted connection: what became of it, and the means to misbehave on it by hand. */
export class UpstreamConnection implements SocketEnds {
  readonly index: number
  /** `performance.now()` ms of the accept. */
  readonly openedAt = performance.now()
  readonly localPort: number
  readonly remotePort: number
  /** Request heads read on this connection so far. */
  requestCount = 0
  /** Takes what comes, where the connection speaks another protocol than HTTP now. */
  switched: ((bytes: Buffer) => void) | undefined
  readonly #raw: Socket
  readonly #stream: Socket
  readonly #end = deferred<ConnectionEnd>()
  readonly #over = new AbortController()
  readonly #keepHalfOpen: boolean
  #ended: ConnectionEnd | undefined
  #stopWatching: (() => void) | undefined
  #pace: Pace | undefined
  #delivery: { readonly writtenBytes: number; readonly done: Promise<void> } | undefined

  constructor(index: number, raw: Socket, stream: Socket, keepHalfOpen: boolean) {
    this.index = index
    this.#raw = raw
    this.#stream = stream
    this.#keepHalfOpen = keepHalfOpen
    this.localPort = raw.localPort ?? 0
    this.remotePort = raw.remotePort ?? 0
    raw.setNoDelay(true)
    setMaxListeners(0, this.over)
    stream.on('end', () => this.#peerLeft(wasReset(raw) ? 'rst' : 'fin'))
    for (const socket of new Set([raw, stream])) {
      socket.on('error', (error: NodeJS.ErrnoException) => {
        this.#settle(error.code === 'ECONNRESET' || error.code === 'EPIPE' ? 'rst' : 'fin', error.code)
      })
      socket.on('close', () => {
        this.#settle('us')
        this.#over.abort()
        this.#stopWatching?.()
      })
    }
  }

  /** Settles at the peer's FIN or RST, or when we end the connection: whichever is first. Waits 10 s at most. */
  get closed(): Promise<ConnectionEnd> {
    return within(this.#end.promise, AWAIT_MS, `end of upstream connection ${this.index}`)
  }

  /** The same, unless it has not ended yet. */
  get ended(): ConnectionEnd | undefined {
    return this.#ended
  }

  /** False once our file descriptor is closed. After our own FIN it stays true until the peer closes, too. */
  get isOpen(): boolean {
    return !this.#raw.destroyed
  }

  get isEncrypted(): boolean {
    return this.#stream instanceof TLSSocket
  }

  /** Bytes read from the socket (TLS records included); the kernel may hold more. */
  get bytesRead(): number {
    return this.#raw.bytesRead
  }

  get bytesWritten(): number {
    return this.#raw.bytesWritten
  }

  /** Aborted when nothing can be sent or received any more. */
  get over(): AbortSignal {
    return this.#over.signal
  }

  onBytes(listener: (bytes: Buffer) => void): void {
    this.#stream.on('data', (bytes: Buffer) => {
      listener(bytes)
      if (this.#pace) this.#rest(this.#pace, bytes.length)
    })
  }

  /** Resolves when the kernel has taken the bytes; throws `Gone` when the connection is over first. */
  async write(bytes: string | Buffer): Promise<void> {
    if (this.over.aborted || this.#stream.writableEnded) throw new Gone()
    const taken = deferred<void>()
    this.#stream.write(bytes, error => (error ? taken.reject(new Gone()) : taken.resolve()))
    return taken.promise
  }

  async sleep(ms: number): Promise<void> {
    if (ms <= 0) return
    await delay(ms, undefined, { signal: this.over }).catch(() => {
      throw new Gone()
    })
  }

  /** Never returns normally: throws `Gone` when the connection is over. */
  async hang(): Promise<never> {
    if (!this.over.aborted) {
      await new Promise(resolve => this.over.addEventListener('abort', resolve, { once: true }))
    }
    throw new Gone()
  }

  /**
   * Ends the connection. A RST waits until the peer's kernel has what was written (250 ms at most); after a FIN the
   * peer may go on sending, which is read and thrown away until it closes.
   */
  async leave(how: Leave): Promise<void> {
    this.readOn()
    if (how === 'fin') {
      this.#stream.end(() => this.#settle('us'))
      return
    }
    await this.delivered()
    this.#settle('us')
    this.#destroyBoth(resetNow)
  }

  /**
   * Resolves when the peer's kernel has acknowledged what was written so far, after 250 ms at the latest: a RST then
   * takes none of it back. Costs a look at the socket table (5 ms), so who can ask ahead of time does.
   */
  delivered(): Promise<void> {
    const writtenBytes = this.#stream.bytesWritten
    if (this.#delivery?.writtenBytes !== writtenBytes) {
      const done = writtenBytes === 0 ? Promise.resolve() : acknowledged(this.#raw, 250)
      this.#delivery = { writtenBytes, done }
    }
    return this.#delivery.done
  }

  /**
   * From now on nothing is taken from the kernel beyond what node has already buffered (128 KiB at most). The peer's
   * FIN or RST is then read from the kernel's socket table, and ends the connection.
   */
  stopReading(): void {
    this.#stream.pause()
    this.#stopWatching ??= watchPeer(this, how => this.#peerLeft(how))
  }

  readOn(): void {
    this.#stopWatching?.()
    this.#stopWatching = undefined
    this.#pace = undefined
    this.#stream.resume()
  }

  /** Takes what arrives at this pace on average. The kernel buffers ahead: a peer is held up only once that is full. */
  readSlowly(pace: Pace): void {
    this.#pace = pace
  }

  destroy(): void {
    this.#settle('us')
    this.#destroyBoth(socket => socket.destroy())
  }

  #rest(pace: Pace, bytes: number): void {
    this.stopReading()
    setTimeout(
      () => {
        if (this.over.aborted || this.#pace !== pace) return
        this.readOn()
        this.#pace = pace
      },
      (bytes / pace.bytesPerTick) * pace.tickMs,
    ).unref()
  }

  #peerLeft(how: Leave): void {
    this.#settle(how)
    if (!this.#keepHalfOpen || how === 'rst' || this.#stream.writableEnded)
      this.#destroyBoth(socket => socket.destroy())
  }

  #destroyBoth(destroy: (socket: Socket) => void): void {
    destroy(this.#raw)
    if (this.#stream !== this.#raw) this.#stream.destroy()
  }

  #settle(how: ConnectionEnd['how'], error?: string): void {
    if (this.#ended) return
    this.#ended = { how, at: performance.now(), ...(error === undefined ? {} : { error }) }
    this.#end.resolve(this.#ended)
  }
}
