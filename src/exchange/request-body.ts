/**
 * The request body as the exchange sees it: how much of it is here, whether it may go on, whose turn it is, and whether
 * the client that owes the rest is still there while nobody reads from it.
 */
import type { Socket } from 'node:net'
import type { Place } from '../roster.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Timeouts } from './timeouts.ts'
import { isMostlyFraming } from './trailers.ts'
import { Upload, type UploadEvents } from './upload.ts'
import type { Vanished, Watch, Watched } from './vanished.ts'

export interface RequestBodyEvents {
  bodyRefused(outcome: 'body_too_large' | 'bad_request', error?: Error): void
  /** The client waits for an invitation (RFC 9110 section 10.1.1), and now there is somebody to take the body. */
  bodyInvited(): void
  clientVanished(): void
  /** Where the request's bytes wait on their way out; undefined while there is no connection. */
  readonly upstreamSocket: Socket | undefined
}

export class RequestBody implements UploadEvents, Watched {
  /** What the upstream's connection takes. */
  readonly upload: Upload
  readonly socket: Socket
  watch: Place<Watch> | undefined
  /** Body bytes received. */
  received = 0
  readonly #limitBytes: number
  readonly #timeouts: Timeouts
  readonly #vanished: Vanished
  readonly #events: RequestBodyEvents
  #awaitsInvitation: boolean
  /** What the client's socket had read when the body began. */
  readonly #wireStart: number

  constructor(
    connection: ClientConnection,
    limitBytes: number,
    awaitsInvitation: boolean,
    timeouts: Timeouts,
    vanished: Vanished,
    events: RequestBodyEvents,
  ) {
    this.socket = connection.socket
    this.#limitBytes = limitBytes
    this.#awaitsInvitation = awaitsInvitation
    this.#timeouts = timeouts
    this.#vanished = vanished
    this.#events = events
    this.#wireStart = connection.socket.bytesRead
    // What does not fit into its read-ahead is not read before a slot is ours.
    vanished.watch(this)
    this.upload = new Upload(connection, this)
  }

  get complete(): boolean {
    return this.upload.complete
  }

  /** Nobody wants the rest. */
  close(): void {
    this.#vanished.unwatch(this)
    this.upload.stop()
  }

  uploadWanted(): void {
    this.#timeouts.requestTaken()
    if (this.complete) return
    this.#vanished.unwatch(this)
    this.#timeouts.uploadWanted()
    if (!this.#awaitsInvitation) return
    this.#awaitsInvitation = false
    this.#events.bodyInvited()
  }

  uploadReceived(bytes: number): void {
    this.received += bytes
    if (this.received > this.#limitBytes) {
      this.#events.bodyRefused('body_too_large')
    } else if (isMostlyFraming(this.socket.bytesRead - this.#wireStart, this.received)) {
      this.#events.bodyRefused('bad_request', new Error('chunk extensions without end'))
    } else {
      this.#timeouts.uploadReceived(bytes)
    }
  }

  uploadHeld(): void {
    this.#timeouts.uploadHeld()
    this.#timeouts.requestPending(this.#events.upstreamSocket)
    if (!this.complete) this.#vanished.watch(this)
  }

  uploadMalformed(error: Error): void {
    this.#events.bodyRefused('bad_request', error)
  }

  uploadComplete(): void {
    this.#vanished.unwatch(this)
    this.#timeouts.requestReceived()
  }

  vanished(): void {
    this.#events.clientVanished()
  }
}
