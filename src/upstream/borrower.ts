/** What a connection says to whoever has borrowed it. */
import type { Socket } from 'node:net'
import type { Fields } from '../http1/fields.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import type { DialEvents } from './dial.ts'

/** Who uses a connection now: the upstream side of an exchange. */
export interface Borrower extends DialEvents {
  /** The connection can be written to. */
  dialled(): void
  /** The request is being written. */
  writing(): void
  /** The last byte of the request was handed to the socket. */
  sent(): void
  /** The first byte of a response is here. */
  responseStarted(): void
  interim(status: number, fields: Fields): void
  /** @returns false where the body should wait */
  head(head: UpstreamHead): boolean
  /** @returns false where the rest of the body should wait */
  data(chunk: Buffer): boolean
  /** All of one large read was told. @param buffer what it was read into: the borrower's, who may give it back */
  readOver(buffer: Buffer): void
  /** The protocol was switched: `socket` is the borrower's from now on, paused. */
  upgraded(head: UpstreamHead, socket: Socket): void
  /** The response is over. @param trailers flat, name and value in turn */
  complete(trailers: readonly string[]): void
  /** The dial, the connection or the response has failed. */
  failed(error: Error): void
}
