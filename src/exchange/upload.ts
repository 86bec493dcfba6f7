/**
 * The request body on its way to the upstream. A stream of its own between the client's request and undici: undici
 * destroys the body it was given when an attempt fails, and destroying the client's request would destroy the client's
 * socket before a proper answer could be sent.
 */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

export interface UploadEvents {
  /** The upstream takes bytes, so we want some from the client. */
  uploadWanted(): void
  uploadReceived(bytes: number): void
  /** The upstream makes us wait. */
  uploadHeld(): void
  /** The client's last byte is here. */
  uploadComplete(): void
}

export class Upload extends Readable {
  readonly #from: IncomingMessage
  readonly #events: UploadEvents
  #over = false

  constructor(from: IncomingMessage, events: UploadEvents) {
    super({ highWaterMark: 64 * 1024 })
    this.#from = from
    this.#events = events
    from.pause()
    from.on('data', this.#onData)
    from.on('end', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#events.uploadReceived(chunk.length)
    // The limit may have been passed just now.
    if (!this.#over) this.push(chunk)
  }

  readonly #onEnd = (): void => {
    this.#over = true
    this.#events.uploadComplete()
    this.push(null)
  }

  /** undici calls this first of all, and whenever the upstream's socket has drained. */
  override resume(): this {
    super.resume()
    if (!this.#over) {
      this.#events.uploadWanted()
      this.#from.resume()
    }
    return this
  }

  /** undici calls this when the upstream's socket is full. */
  override pause(): this {
    super.pause()
    if (!this.#over) {
      this.#from.pause()
      this.#events.uploadHeld()
    }
    return this
  }

  override _read(): void {}

  /** Leaves the client's request alone: whoever ends the exchange decides what becomes of the rest of the body. */
  override _destroy(_error: Error | null, done: (error: null) => void): void {
    this.#over = true
    this.#from.off('data', this.#onData)
    this.#from.off('end', this.#onEnd)
    done(null)
  }
}
