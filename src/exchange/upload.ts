/**
 * The request body on its way to the upstream: from the client's connection to the upstream's, chunk by chunk.
 *
 * It reads ahead, up to `READ_AHEAD_BYTES`, while the exchange still waits for its slot: a client is noticed to leave
 * only while it is read from (stack fact 5), and a small body is then received for good.
 */
import { giveBack } from '../read-buffer.ts'
import type { BodySink, RequestBodySource } from '../upstream/request.ts'
import { hasForbiddenTrailer } from './trailers.ts'

/** Where it comes from: read no more for a while, or on. */
export interface UploadSource {
  pause(): void
  resume(): void
}

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
  readonly #from: UploadSource
  readonly #events: UploadEvents
  /** What was read ahead. */
  #ahead: Buffer[] = []
  #aheadBytes = 0
  /** Where it goes; undefined: nowhere yet. */
  #sink: BodySink | undefined
  #held = false
  #stopped = false

  constructor(from: UploadSource, events: UploadEvents) {
    this.#from = from
    this.#events = events
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
    // What comes behind the body is not ours; who reads on learns whether the client leaves.
    if (!this.complete) this.#from.pause()
    this.#events.uploadHeld()
  }

  drained(): void {
    if (!this.#held || this.#stopped) return
    this.#held = false
    this.#events.uploadWanted()
    this.#from.resume()
  }

  /** Whoever ends the exchange decides what becomes of the rest of the body. */
  stop(): void {
    this.#stopped = true
    this.#ahead = []
  }

  received(chunk: Buffer): void {
    if (this.#stopped) return
    this.#events.uploadReceived(chunk.length)
    // The limit may have been passed just now.
    if (this.#stopped) return
    if (this.#sink !== undefined) {
      this.#sink.write(chunk)
      return
    }
    this.#ahead.push(Buffer.from(chunk))
    this.#aheadBytes += chunk.length
    if (this.#aheadBytes >= READ_AHEAD_BYTES) this.#from.pause()
  }

  /** All of one large read was told. @param buffer what it was read into */
  readOver(buffer: Buffer): void {
    if (this.#sink !== undefined) this.#sink.readOver(buffer)
    else giveBack(buffer)
  }

  ended(trailers: readonly string[]): void {
    if (this.#stopped) return
    if (hasForbiddenTrailer(trailers)) {
      this.#events.uploadMalformed(new Error('a forbidden trailer field'))
      return
    }
    this.complete = true
    this.#from.resume()
    this.#events.uploadComplete()
    if (!this.#stopped) this.#sink?.end()
  }
}
