/**
 * The client's side of an exchange: what is written to it, what it has taken, and whether it is still there.
 * Before headers the gateway can choose an answer; after headers it can only stop.
 */
import type { Socket } from 'node:net'
import { fieldLines } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import type { Outlet } from '../outlet.ts'
import { giveBack, lasting } from '../read-buffer.ts'
import { sever } from '../sever.ts'
import { MOST_CORKED_BYTES, type Writer, writeLater } from '../write-batch.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Problem } from './problem.ts'
import type { ResponseHead } from './response-head.ts'
import { interimText, responseText } from './response-text.ts'

export interface ClientEvents {
  /** The client left before the whole response was flushed to it. */
  clientGone(): void
  /** Every byte of the response was flushed, and the response is over. */
  clientDelivered(): void
  /** The client takes no more for now. */
  clientBlocked(): void
  /** It takes bytes again. */
  clientDrained(): void
}

/** Pieces of a body up to this are cheaper to copy behind what comes before them than to send beside it. */
const ONE_WRITE_BYTES = 8192

export class ClientSide implements Writer {
  readonly request: ClientHead
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
  readonly #events: ClientEvents
  readonly #socket: Socket
  readonly #out: Outlet
  /** Held back until the first body bytes or the end of this turn. */
  #head: ResponseHead | undefined
  /** Text that is held back until the end of this turn, in latin1: a head, small pieces of a body, what frames them. */
  #text = ''
  /** Something is held back, and will be written at the end of this turn. */
  #inBatch = false
  #closing = false
  /** The socket is corked until the end of this turn. */
  #corked = false
  #chunked = false
  #delimitedByClose = false
  /** Body bytes that are still to come; -1: nobody has said how many. */
  #left = -1
  #unflushedWrites = 0
  /** Bytes of these: where the kernel refuses a write that meets the client's RST, Node forgets at once what was in it. */
  #unflushedBytes = 0
  /** Pieces of these are written, and may wait at the socket. */
  readonly #inUse: Buffer[] = []

  constructor(request: ClientHead, connection: ClientConnection, events: ClientEvents) {
    this.request = request
    this.connection = connection
    this.#socket = connection.socket
    this.#out = connection.out
    this.#events = events
  }

  /** True while a status can still be chosen. */
  get canAnswer(): boolean {
    return this.statusSent === 0 && !this.gone
  }

  /** The connection is to be closed after this response. */
  closeAfterwards(): void {
    this.#closing = true
  }

  /** Invites the body of a client that sent `Expect: 100-continue`. */
  inviteBody(): void {
    if (!this.canAnswer) return
    this.connection.promptly()
    this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1')
  }

  /** Relays an interim response; HTTP/1.0 knows none (RFC 9110 section 15.2). @param fields as text */
  interim(status: number, fields: string): void {
    if (!this.canAnswer || this.request.minorVersion === 0) return
    this.connection.promptly()
    this.#socket.write(interimText(status, fields), 'latin1')
  }

  /** The final response's head. A response without a body is over with it. */
  respond(head: ResponseHead): void {
    this.statusSent = head.status
    this.#head = head
    this.connection.responding(this)
    const bodyless =
      this.request.method === 'HEAD' || head.status === 204 || head.status === 304 || head.contentLength === 0
    this.#left = bodyless ? 0 : head.contentLength
    if (bodyless) this.end([])
    else this.#writeLater()
  }

  /** @returns false where the client should be waited for: `clientDrained` will tell. */
  write(chunk: Buffer): boolean {
    if (this.ended) return true
    if (this.gone || this.#socket.destroyed) {
      this.discard(chunk.length)
      return true
    }
    this.#beginHead()
    this.txBytes += chunk.length
    if (this.#left !== -1) {
      this.#left -= chunk.length
      this.ended = this.#left === 0
    }
    if (this.#chunked) this.#text += `${chunk.length.toString(16)}\r\n`
    if (chunk.length <= ONE_WRITE_BYTES) this.#text += chunk.toString('latin1')
    else this.#writePiece(chunk)
    if (this.#chunked) this.#text += '\r\n'
    this.#unflushedWrites++
    if (this.#text.length + this.#out.pending >= MOST_CORKED_BYTES) this.#flushNow()
    else this.#writeLater()
    return !this.blocked
  }

  /** Writes the pieces of this turn. @param buffer what they lie in: given back when they are away */
  writeNow(buffer: Buffer): void {
    this.#inUse.push(buffer)
    if (this.#corked) this.#flushNow()
    else this.#giveBack()
  }

  /** @param trailers flat, name and value in turn */
  end(trailers: readonly string[]): void {
    if (this.ended || this.gone) return
    this.ended = true
    this.#beginHead()
    if (this.#chunked) this.#text += `0\r\n${fieldLines(trailers)}\r\n`
    this.#writeLater()
  }

  /** A reply of the gateway's own. */
  reply({ status, headers, body }: Problem): void {
    this.respond({ status, statusText: '', fields: fieldLines(headers), contentLength: body.length, dated: false })
    if (!this.ended) this.write(body)
    // At once: what ends the exchange may end the process, too.
    this.flush()
  }

  /**
   * Stops a response that has begun, so that the client can see the truncation. Where only the close tells its end
   * (HTTP/1.0), a FIN would look like a clean one; and what a client does not take must not stay in the kernel.
   */
  cut(): void {
    this.#beginHead()
    this.flush()
    if (this.#delimitedByClose || this.blocked) sever(this.#socket)
    else this.#socket.destroy()
  }

  /** Bytes meant for a client who is gone. */
  discard(bytes: number): void {
    this.abortedWrites++
    this.abortedWriteBytes += bytes
  }

  /** Writes a response that is all here, and held back for the others of this turn: true where the kernel has taken it. */
  handOver(): boolean {
    if (!this.ended || this.gone) return false
    this.#flushNow()
    return this.#out.pending === 0
  }

  /** The turn is over. */
  flush(): void {
    this.#inBatch = false
    this.#flushNow()
  }

  /** To be called when the client is known to be lost. */
  lost(): void {
    if (this.gone) return
    const socket = this.#socket
    const bytes = Math.max(this.connection.lostBytes, this.#out.pending, this.#unflushedBytes) + this.#text.length
    this.gone = true
    this.#text = ''
    if (bytes > 0) {
      this.abortedWrites += Math.max(1, this.#unflushedWrites)
      this.abortedWriteBytes += bytes
    }
    sever(socket)
    this.#events.clientGone()
  }

  /** The last byte of the response has left. */
  flushed(): void {
    if (this.gone) return
    this.#giveBack()
    this.connection.responded()
    this.#events.clientDelivered()
  }

  #writeLater(): void {
    if (this.#inBatch) return
    this.#inBatch = true
    writeLater(this)
  }

  #beginHead(): void {
    const head = this.#head
    if (head === undefined) return
    this.#head = undefined
    const { request, connection } = this
    const unframed = this.#left === -1
    this.#chunked = unframed && request.minorVersion === 1
    this.#delimitedByClose = unframed && !this.#chunked
    // What nobody has read of the request's body would be read as the next request.
    if (this.#closing || !request.keepAlive || this.#delimitedByClose || connection.receiving) connection.closing = true
    this.#text += responseText(head, this.#chunked, connection.closing)
  }

  /** What is longer than can be copied cheaply: beside the text before it, in the same writev(2). */
  #writePiece(chunk: Buffer): void {
    this.#cork()
    const socket = this.#socket
    if (this.#text !== '') socket.write(this.#text, 'latin1')
    this.#text = ''
    const piece = lasting(chunk, this.#inUse)
    if (this.ended) socket.write(piece, this.#out.written)
    else socket.write(piece)
  }

  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
  }

  /** What the kernel takes at once wants no waiting, however much it is. */
  #flushNow(): void {
    if (this.gone) return
    const socket = this.#socket
    this.#beginHead()
    const text = this.#text
    this.#text = ''
    const handedOver = this.#out.pending + text.length
    // The close pushes out what is written before it.
    if (!this.ended || !this.connection.closing) this.connection.promptly()
    if (text !== '') {
      this.#out.write(text, this.ended)
    } else if (this.ended && this.#delimitedByClose) {
      this.#delimitedByClose = false
      socket.write('', this.#out.written)
    }
    if (this.#corked) {
      this.#corked = false
      socket.uncork()
    }
    this.#unflushedBytes = handedOver
    if (this.#out.pending > 0) this.#block()
    else if (socket.errored === null) this.#allFlushed()
  }

  #block(): void {
    if (this.blocked) return
    this.blocked = true
    if (!this.ended) this.#awaitFlush()
    this.#events.clientBlocked()
  }

  /** By the callback of an empty write: `drain` comes only where 16 KB and more waited. */
  #awaitFlush(): void {
    const socket = this.#socket
    socket.write('', error => {
      if (error || socket.destroyed || this.ended || this.gone) return
      if (this.#out.pending > 0) this.#awaitFlush()
      else this.#drained()
    })
  }

  #drained(): void {
    this.blocked = false
    this.#allFlushed()
    this.#events.clientDrained()
  }

  #allFlushed(): void {
    this.#unflushedWrites = 0
    this.#unflushedBytes = 0
    this.#giveBack()
  }

  #giveBack(): void {
    if (this.#inUse.length === 0 || this.#out.pending > 0) return
    for (const buffer of this.#inUse) giveBack(buffer)
    this.#inUse.length = 0
  }
}
