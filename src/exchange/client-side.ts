/**
 * The client's side of an exchange: what is written to it, what it has taken, and whether it is still there.
 * Before headers the gateway can choose an answer; after headers it can only stop.
 */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { giveBack, lasting } from '../read-buffer.ts'
import { sever } from '../sever.ts'
import { MOST_CORKED_BYTES, writeLater } from '../write-batch.ts'
import type { ClientConnection } from './client-connection.ts'
import { lingerOnClose } from './linger.ts'
import type { Problem } from './problem.ts'
import type { ResponseHead } from './response-head.ts'

export interface ClientEvents {
  /** The client left before the whole response was flushed to it. */
  clientGone(): void
  /** Every byte of the response was flushed, and the response is over. */
  clientDelivered(): void
  /** The client takes no more for now. */
  clientBlocked(): void
  /** It takes bytes again. */
  clientDrained(): void
  /** Node refuses to send this head: it has characters that no header may have. */
  clientHeadRefused(error: Error): void
}

/** Bodies up to this are cheaper to copy behind their head than to send beside it. */
const ONE_WRITE_BYTES = 8192

const EVENTS = Symbol('hopgate.client-side')
type Observed = ServerResponse & { [EVENTS]: ClientSide }

export class ClientSide {
  readonly req: IncomingMessage
  readonly connection: ClientConnection
  /** The status sent; 0: none yet. */
  statusSent = 0
  txBytes = 0
  abortedWrites = 0
  abortedWriteBytes = 0
  gone = false
  /** The response is over as far as we are concerned. */
  ended = false
  blocked = false
  readonly #res: ServerResponse
  readonly #hasBody: boolean
  readonly #events: ClientEvents
  /** Held back until the first body bytes or the end of this turn, so that a small response is one write. */
  #head: ResponseHead | undefined
  /** Something is held back, and will be written at the end of this turn. */
  #inBatch = false
  #closing = false
  /** The socket is corked until the end of this turn. */
  #corked = false
  /** A whole body, behind a head that is written with it: at the end of this turn, with those of others. */
  #last: string | undefined
  #delimitedByClose = false
  #unflushedWrites = 0
  /** Pieces of these are written, and may wait at the socket. */
  readonly #inUse: Buffer[] = []

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    connection: ClientConnection,
    hasBody: boolean,
    events: ClientEvents,
  ) {
    this.req = req
    this.#res = res
    this.connection = connection
    this.#hasBody = hasBody
    this.#events = events
    ;(res as Observed)[EVENTS] = this
    res.on('close', onClose)
  }

  /** True while a status can still be chosen. */
  get canAnswer(): boolean {
    return this.statusSent === 0 && !this.gone
  }

  /** The response's bytes wait at the client's socket. */
  get pending(): boolean {
    return this.connection.socket.writableLength > 0
  }

  /** The connection is to be closed after this response. */
  closeAfterwards(): void {
    this.#closing = true
  }

  /** Invites the body of a client that sent `Expect: 100-continue`. */
  inviteBody(): void {
    if (this.canAnswer) this.#res.writeContinue()
  }

  /** Relays an interim response; HTTP/1.0 knows none (RFC 9110 section 15.2). */
  interim(status: number, headers: readonly string[]): void {
    if (!this.canAnswer || this.req.httpVersionMinor === 0) return
    if (status === 102) {
      this.#res.writeProcessing()
    } else if (status === 103) {
      const hints: Record<string, string | string[]> = {}
      for (let i = 0; i < headers.length; i += 2) {
        const name = (headers[i] as string).toLowerCase()
        const before = hints[name]
        const value = headers[i + 1] as string
        hints[name] = before === undefined ? value : [before, value].flat()
      }
      // Without a Link there is no hint, and Node refuses it.
      const link = hints['link']
      if (link === undefined) return
      try {
        this.#res.writeEarlyHints({ ...hints, link })
      } catch {
        // A hint that Node calls malformed is dropped: the final response does not depend on it.
      }
    }
  }

  /** The final response's head. A response without a body is over with it. */
  respond(head: ResponseHead): void {
    this.statusSent = head.status
    this.#head = head
    const bodyless =
      this.req.method === 'HEAD' || head.status === 204 || head.status === 304 || head.contentLength === 0
    if (bodyless) this.end([])
    else this.#writeLater()
  }

  /** @returns false where the client should be waited for: `clientDrained` will tell. */
  write(chunk: Buffer): boolean {
    if (this.ended) return true
    if (this.gone || this.connection.socket.destroyed) {
      this.discard(chunk.length)
      return true
    }
    const head = this.#head
    this.txBytes += chunk.length
    if (head !== undefined) {
      const whole = head.contentLength === chunk.length
      if (!(whole && chunk.length <= ONE_WRITE_BYTES && this.#prepareHead(head)) && !this.#flushHead()) return true
      if (whole) {
        this.ended = true
        if (chunk.length <= ONE_WRITE_BYTES) {
          this.#last = chunk.toString('latin1')
          this.#writeLater()
        } else {
          this.#res.end(lasting(chunk, this.#inUse))
          if (this.pending) this.#block()
          else this.#giveBack()
        }
        return true
      }
    }
    const { socket } = this.connection
    if (!this.#corked) {
      this.#corked = true
      socket.cork()
      this.#writeLater()
    }
    this.#res.write(lasting(chunk, this.#inUse))
    this.#unflushedWrites++
    if (socket.writableLength >= MOST_CORKED_BYTES) this.#uncork()
    return !this.blocked
  }

  /** Writes the pieces of this turn. @param buffer what they lie in: given back when they are away */
  writeNow(buffer: Buffer): void {
    this.#inUse.push(buffer)
    if (this.#corked) this.#uncork()
    else this.#giveBack()
  }

  /** @param trailers flat, name and value in turn */
  end(trailers: readonly string[]): void {
    if (this.ended || this.gone) return
    if (this.#head !== undefined && !this.#flushHead()) return
    this.ended = true
    if (trailers.length > 0) {
      const pairs: [string, string][] = []
      for (let i = 0; i < trailers.length; i += 2) pairs.push([trailers[i] as string, trailers[i + 1] as string])
      this.#res.addTrailers(pairs)
    }
    this.#res.end()
    if (this.pending) this.#block()
  }

  /** A reply of the gateway's own. */
  reply(reply: Problem): void {
    this.statusSent = reply.status
    this.#head = {
      status: reply.status,
      statusText: '',
      headers: reply.headers,
      contentLength: reply.body.length,
      dated: false,
    }
    this.write(this.req.method === 'HEAD' ? Buffer.alloc(0) : reply.body)
    if (!this.ended) this.end([])
    // At once: what ends the exchange may end the process, too.
    this.flush()
  }

  /**
   * Stops a response that has begun, so that the client can see the truncation. Where only the close tells its end
   * (HTTP/1.0), a FIN would look like a clean one; and what a client does not take must not stay in the kernel.
   */
  cut(): void {
    const { socket } = this.connection
    this.#writeLast()
    this.#flushHeadAlone()
    // What was written in this turn is still corked (Node does so until the next tick), the head among it.
    uncork(socket)
    if (this.#delimitedByClose || this.blocked) sever(socket)
    else socket.destroy()
  }

  /** Bytes meant for a client who is gone. */
  discard(bytes: number): void {
    this.abortedWrites++
    this.abortedWriteBytes += bytes
  }

  /** Writes a response that is all here, and held back for the others of this turn: true where the kernel has taken it. */
  handOver(): boolean {
    if (this.#last === undefined) return false
    this.#writeLast()
    return !this.pending
  }

  #writeLater(): void {
    if (this.#inBatch) return
    this.#inBatch = true
    writeLater(this)
  }

  /** The turn in which the head came is over: if no body came with it, the client gets the head now. */
  flush(): void {
    this.#inBatch = false
    if (this.#last !== undefined) this.#writeLast()
    else this.#flushHeadAlone()
    if (this.#corked) this.#uncork()
  }

  /** What the kernel takes at once wants no waiting, however much it is. */
  #uncork(): void {
    this.#corked = false
    uncork(this.connection.socket)
    if (this.gone) return
    if (this.pending) {
      this.#block()
    } else {
      this.#unflushedWrites = 0
      this.#giveBack()
    }
  }

  #flushHeadAlone(): void {
    if (this.#head !== undefined && this.#flushHead()) this.#res.flushHeaders()
  }

  /**
   * Writes the head where it is one that Node would write just so, without what Node does for heads of any kind: to
   * look at each field for characters that it may not have (the reader of the response has), and for what it means.
   * `_header` is where `writeHead` leaves its text; test/facts holds that nothing else is needed.
   * @returns false where Node is to do it
   */
  #prepareHead(head: ResponseHead): boolean {
    const res = this.#res as ServerResponse & { _header: string | null }
    const persistent = res.shouldKeepAlive && !this.#closing && this.req.httpVersionMinor === 1
    if (!persistent || !head.dated || (this.#hasBody && !this.req.complete)) return false
    this.#head = undefined
    const { status, headers } = head
    let text = `HTTP/1.1 ${status} ${head.statusText === '' ? (STATUS_CODES[status] ?? 'unknown') : head.statusText}\r\n`
    for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
    res.statusCode = status
    res._header = `${text}Connection: keep-alive\r\n\r\n`
    return true
  }

  /** @returns false where the head could not be sent */
  #flushHead(): boolean {
    const head = this.#head
    if (head === undefined || this.gone) return !this.gone
    this.#head = undefined
    const unread = this.#hasBody && !this.req.complete
    if (this.#closing || unread) {
      head.headers.push('Connection', 'close')
      this.connection.closing = true
    }
    if (unread) lingerOnClose(this.connection.socket)
    this.#delimitedByClose = head.contentLength === -1 && this.req.httpVersionMinor === 0
    try {
      if (head.statusText === '') this.#res.writeHead(head.status, head.headers)
      else this.#res.writeHead(head.status, head.statusText, head.headers)
      return true
    } catch (error) {
      this.statusSent = 0
      this.#events.clientHeadRefused(error as Error)
      return false
    }
  }

  /** To be called when the client is known to be lost before its response says so. */
  lost(): void {
    if (this.gone) return
    const { socket } = this.connection
    const bytes = Math.max(this.connection.lostBytes, socket.writableLength)
    this.gone = true
    if (this.#last !== undefined) this.discard(this.#last.length)
    this.#last = undefined
    if (bytes > 0) {
      this.abortedWrites += Math.max(1, this.#unflushedWrites)
      this.abortedWriteBytes += bytes
    }
    sever(socket)
    this.#events.clientGone()
  }

  /**
   * The response is closed. `writableFinished` alone would call a lost client served: on Node 20 a socket that dies with
   * bytes pending still emits `finish` once `end` was called (measured; Node 24 does not).
   */
  closed(): void {
    if (this.#res.writableFinished && !this.connection.socket.destroyed) {
      this.#giveBack()
      this.#events.clientDelivered()
    } else {
      this.lost()
    }
  }

  #drained(): void {
    this.blocked = false
    this.#unflushedWrites = 0
    this.#giveBack()
    this.#events.clientDrained()
  }

  #giveBack(): void {
    if (this.#inUse.length === 0 || this.pending) return
    for (const buffer of this.#inUse) giveBack(buffer)
    this.#inUse.length = 0
  }

  /**
   * Head and body in one write(2). Node joins them where both are strings; a Buffer would make a writev of two, and so
   * would `end(chunk)`, which writes an empty string behind it (3 us of 40). Uncorked before `end`, that finds
   * everything flushed and writes nothing more.
   */
  #writeLast(): void {
    const body = this.#last
    if (body === undefined) return
    this.#last = undefined
    const { socket } = this.connection
    socket.cork()
    this.#res.write(body, 'latin1')
    socket.uncork()
    this.#res.end()
    if (this.pending) this.#block()
  }

  #block(): void {
    if (this.blocked) return
    this.blocked = true
    if (!this.ended) this.#awaitFlush()
    this.#events.clientBlocked()
  }

  /** By the callback of an empty write: `drain` comes only where 16 KB and more waited. */
  #awaitFlush(): void {
    this.connection.socket.write('', error => {
      if (error || this.ended || this.gone) return
      if (this.pending) this.#awaitFlush()
      else this.#drained()
    })
  }
}

/** Writes what Node holds back until the next tick. */
function uncork(socket: Socket): void {
  while (socket.writableCorked > 0) socket.uncork()
}

function onClose(this: ServerResponse): void {
  ;(this as Observed)[EVENTS].closed()
}
