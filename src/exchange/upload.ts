/**
 * The request body on its way to the upstream. A stream of its own between the client's request and undici: undici
 * destroys the body it was given when an attempt fails, and destroying the client's request would destroy the client's
 * socket before a proper answer could be sent.
 *
 * It reads ahead, up to `READ_AHEAD_BYTES`, while the exchange still waits for its slot: a client is noticed to leave
 * only while it is read from (stack fact 5), and a small body is then received for good.
 */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { hasForbiddenTrailer } from './trailers.ts'

export interface UploadEvents {
  /** The upstream takes bytes, so we want some from the client. */
  uploadWanted(): void
  uploadReceived(bytes: number): void
  /** The upstream makes us wait. */
  uploadHeld(): void
  /** The client's last byte is here. */
  uploadComplete(): void
  /** The body came, and behind it fields that may not come there. */
  uploadMalformed(error: Error): void
}

const READ_AHEAD_BYTES = 256 * 1024

export class Upload extends Readable {
  /** Every byte of the body has been received. */
  complete = false
  readonly #from: IncomingMessage
  readonly #events: UploadEvents
  /** The upstream takes what comes; else it is read ahead. */
  #taken = false

  constructor(from: IncomingMessage, events: UploadEvents) {
    super({ highWaterMark: READ_AHEAD_BYTES })
    this.#from = from
    this.#events = events
    from.on('data', this.#onData)
    from.on('end', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#events.uploadReceived(chunk.length)
    // The limit may have been passed just now.
    if (!this.destroyed && !this.push(chunk) && !this.#taken) this.#from.pause()
  }

  readonly #onEnd = (): void => {
    if (hasForbiddenTrailer(this.#from.rawTrailers)) {
      this.#events.uploadMalformed(new Error('a forbidden trailer field'))
      return
    }
    this.complete = true
    this.#events.uploadComplete()
    // Not before undici reads: it would take a chunked body that has ended already for one of known length.
    if (this.#taken && !this.destroyed) this.push(null)
  }

  /** undici calls this first of all, and whenever the upstream's socket has drained. */
  override resume(): this {
    this.#taken = true
    super.resume()
    this.#events.uploadWanted()
    if (!this.complete) this.#from.resume()
    else if (!this.destroyed) this.push(null)
    return this
  }

  /** undici calls this when the upstream's socket is full. */
  override pause(): this {
    this.#taken = false
    super.pause()
    if (!this.complete) this.#from.pause()
    this.#events.uploadHeld()
    return this
  }

  override _read(): void {}

  /** Leaves the client's request alone: whoever ends the exchange decides what becomes of the rest of the body. */
  override _destroy(_error: Error | null, done: (error: null) => void): void {
    this.#from.off('data', this.#onData)
    this.#from.off('end', this.#onEnd)
    done(null)
  }
}
