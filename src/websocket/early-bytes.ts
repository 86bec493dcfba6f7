/**
 * What a client sends behind its request before it has an answer. Hardly any does, but reading is also what tells that
 * the client has left. Kept for the session; thrown away behind a refusal, where it would be read as a request.
 */
import type { Socket } from 'node:net'

const MAX_BYTES = 64 * 1024

export class EarlyBytes {
  readonly #socket: Socket
  readonly #tooMany: (error: Error) => void
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(socket: Socket, tooMany: (error: Error) => void) {
    this.#socket = socket
    this.#tooMany = tooMany
  }

  begin(): void {
    this.#socket.on('data', this.#take)
  }

  /** Hands over what has come, and reads no more. */
  end(): readonly Buffer[] {
    this.#socket.removeListener('data', this.#take)
    return this.#chunks.splice(0)
  }

  readonly #take = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    if (this.#bytes <= MAX_BYTES) {
      this.#chunks.push(chunk)
      return
    }
    this.#chunks = []
    const error = new Error('too much was sent before the upgrade was answered')
    this.#tooMany(Object.assign(error, { code: 'HOPGATE_MALFORMED' }))
  }
}
