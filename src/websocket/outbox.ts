/**
 * Messages on their way to a backend that may be lost at any moment. WebSocket has no acknowledgement, but a pong proves
 * that the ping, and so all that was sent before it, was read (RFC 6455 section 5.5.3). A message is kept until it is proven
 * so, and is sent again to the next backend otherwise: at least once, never lost.
 */
export interface Message {
  readonly data: Buffer
  readonly isBinary: boolean
}

export class Outbox {
  /** Oldest first; the first `#sent` of them were sent on the present connection. */
  #messages: Message[] = []
  #sent = 0
  /** How many messages have been confirmed and forgotten. */
  #confirmed = 0
  /** Of the payloads that are kept. */
  bytes = 0

  get isEmpty(): boolean {
    return this.#messages.length === 0
  }

  get length(): number {
    return this.#messages.length
  }

  /** What was sent, and is not proven to have been read. */
  get hasUnconfirmed(): boolean {
    return this.#sent > 0
  }

  /** The number of the last message sent, counted over all connections: what a ping carries. */
  get mark(): number {
    return this.#confirmed + this.#sent
  }

  push(message: Message): void {
    this.#messages.push(message)
    this.bytes += message.data.length
  }

  /** The next that has not been sent on this connection; it counts as sent then. */
  next(): Message | undefined {
    const message = this.#messages[this.#sent]
    if (message !== undefined) this.#sent++
    return message
  }

  /** All up to the message of this number have been read. */
  confirm(mark: number): void {
    const count = Math.min(mark - this.#confirmed, this.#sent)
    if (!(count > 0)) return
    for (const { data } of this.#messages.splice(0, count)) this.bytes -= data.length
    this.#sent -= count
    this.#confirmed += count
  }

  /** The connection is lost: what is not proven is to be sent again. */
  rewind(): void {
    this.#sent = 0
  }
}
