/**
 * The request body on its way to the upstream: from the client's request to the upstream's connection, chunk by chunk.
 *
 * It reads ahead, up to `READ_AHEAD_BYTES`, while the exchange still waits for its slot: a client is noticed to leave
 * only while it is read from (stack fact 5), and a small body is then received for good.
 */
import type { IncomingMessage } from 'node:http'
import type { BodySink, RequestBodySource } from '../upstream/request.ts'
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

export class Upload implements RequestBodySource {
  /** Every byte of the body has been received. */
  complete = false
  readonly #from: IncomingMessage
  readonly #events: UploadEvents
  /** What was read ahead. */
  #ahead: Buffer[] = []
  #aheadBytes = 0
  /** Where it goes; undefined: nowhere yet. */
  #sink: BodySink | undefined
  #held = false
  #stopped = false

  constructor(from: IncomingMessage, events: UploadEvents) {
    this.#from = from
    this.#events = events
    from.on('data', this.#onData)
    from.on('end', this.#onEnd)
  }

  start(sink: BodySink): void {
    this.#sink = sink
    this.#events.uploadWanted()
    const ahead = this.#ahead
    this.#ahead = []
    for (const chunk of ahead) sink.write(chunk)
    if (this.complete) sink.end()
    else if (!this.#held) this.#from.resume()
  }

  held(): void {
    if (this.#held || this.#stopped) return
    this.#held = true
    this.#from.pause()
    this.#events.uploadHeld()
  }

  drained(): void {
    if (!this.#held || this.#stopped) return
    this.#held = false
    this.#events.uploadWanted()
    if (!this.complete) this.#from.resume()
  }

  /** Leaves the client's request alone: whoever ends the exchange decides what becomes of the rest of the body. */
  stop(): void {
    this.#stopped = true
    this.#ahead = []
    this.#from.off('data', this.#onData)
    this.#from.off('end', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#events.uploadReceived(chunk.length)
    // The limit may have been passed just now.
    if (this.#stopped) return
    if (this.#sink !== undefined) {
      this.#sink.write(chunk)
      return
    }
    this.#ahead.push(chunk)
    this.#aheadBytes += chunk.length
    if (this.#aheadBytes >= READ_AHEAD_BYTES) this.#from.pause()
  }

  readonly #onEnd = (): void => {
    if (hasForbiddenTrailer(this.#from.rawTrailers)) {
      this.#events.uploadMalformed(new Error('a forbidden trailer field'))
      return
    }
    this.complete = true
    this.#events.uploadComplete()
    if (!this.#stopped) this.#sink?.end()
  }
}
