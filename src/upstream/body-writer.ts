/** Writes one request that has a body: what comes of it in one turn of the event loop goes out in one write. */
import type { Socket } from 'node:net'
import { giveBack, lasting } from '../read-buffer.ts'
import { MOST_CORKED_BYTES, type Writer, writeLater } from '../write-batch.ts'
import type { BodySink, RequestBodySource } from './request.ts'

export class BodyWriter implements BodySink, Writer {
  readonly #socket: Socket
  readonly #body: RequestBodySource
  readonly #chunked: boolean
  readonly #events: { sent(): void }
  #corked = false
  /** Pieces of these are written, and may wait at the socket. */
  readonly #inUse: Buffer[] = []

  /** @param events told when the last byte was handed to `socket` */
  constructor(socket: Socket, body: RequestBodySource, chunked: boolean, events: { sent(): void }) {
    this.#socket = socket
    this.#body = body
    this.#chunked = chunked
    this.#events = events
  }

  /** Writes the head, and what is here of the body with it. */
  begin(head: string): void {
    this.#cork()
    this.#socket.write(head, 'latin1')
    this.#body.start(this)
  }

  write(chunk: Buffer): void {
    const socket = this.#socket
    if (socket.destroyed || chunk.length === 0) return
    this.#cork()
    const piece = lasting(chunk, this.#inUse)
    if (this.#chunked) {
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      socket.write(piece)
      socket.write('\r\n', 'latin1')
    } else {
      socket.write(piece)
    }
    if (socket.writableLength >= MOST_CORKED_BYTES) this.flush()
  }

  readOver(buffer: Buffer): void {
    this.#inUse.push(buffer)
    this.flush()
    this.#giveBack()
  }

  end(): void {
    if (this.#socket.destroyed) return
    if (this.#chunked) this.#socket.write('0\r\n\r\n', 'latin1')
    this.flush()
    this.#events.sent()
  }

  /** What the kernel takes at once wants no waiting, however much it is. */
  flush(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#socket.uncork()
    this.#giveBack()
    if (this.#socket.writableNeedDrain && this.#socket.writableLength > 0) this.#body.held()
  }

  /** Those that still wait are the garbage collector's, if nothing else is written. */
  #giveBack(): void {
    if (this.#inUse.length === 0 || this.#socket.writableLength > 0) return
    for (const buffer of this.#inUse) giveBack(buffer)
    this.#inUse.length = 0
  }

  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    writeLater(this)
  }
}
