/** A request as it goes out on a connection (RFC 9112 section 3). */

/** Where a body goes. */
export interface BodySink {
  /** @param chunk gone when this returns, unless it is of a buffer that `readOver` hands over */
  write(chunk: Buffer): void
  /** All of one large read was told. @param buffer what it was read into: given back when its pieces are away */
  readOver(buffer: Buffer): void
  /** That was all of it. */
  end(): void
}

/** A request body that comes as it is received. */
export interface RequestBodySource {
  /** The connection takes it from now on: what is here already, and what comes. */
  start(sink: BodySink): void
  /** The connection takes no more for now: what was written waits at its socket. */
  held(): void
  /** It takes bytes again. It may say so unasked. */
  drained(): void
  /** Nobody wants the rest. */
  stop(): void
}

/** What is sent. */
export interface UpstreamRequest {
  readonly method: string
  readonly target: string
  /** The client's header fields that go on, without Host, as text: each with its CRLF. */
  readonly passed: string
  /** More of them. */
  readonly added: string
  readonly body: RequestBodySource | null
  /** The body is sent in chunks: its length is not known. */
  readonly chunked: boolean
  /** The request may be sent again when a reused connection turns out to be dead (RFC 9110 section 9.2.2). */
  readonly replayable: boolean
  /** Sets the Host that the chosen endpoint wants; undefined: the endpoint's own. */
  readonly host: string | undefined
  /** The protocol to switch to, where one is asked for. */
  readonly upgrade?: string
}

/** @param authority the endpoint's, for a request that does not choose its Host */
export function requestText(
  { method, target, passed, host, chunked, upgrade, added }: UpstreamRequest,
  authority: string,
): string {
  let text = `${method} ${target} HTTP/1.1\r\nHost: ${host ?? authority}\r\n`
  if (upgrade !== undefined) text += `Connection: upgrade\r\nUpgrade: ${upgrade}\r\n`
  text += passed + added
  return chunked ? `${text}Transfer-Encoding: chunked\r\n\r\n` : `${text}\r\n`
}
