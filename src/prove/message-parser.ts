import type { RawHeaders } from './faults.ts'

/** A head as it came: the first line and the headers, order, case and duplicates kept. */
export interface MessageHead {
  readonly startLine: string
  readonly headers: RawHeaders
}

/** Where the body of a message ends. `interim`: a 1xx head, after which another head follows. */
export type Framing = 'none' | 'interim' | 'chunked' | 'until-close' | { readonly lengthBytes: number }

export interface MessageEvents {
  /** Called with a whole head; returns how its body is framed. */
  head(head: MessageHead): Framing
  body(bytes: Buffer): void
  end(trailers: RawHeaders): void
}

/** The peer sent what is no HTTP/1.1. */
export class MalformedMessage extends Error {}

const MAX_HEAD_BYTES = 4 * 1024 * 1024
const NOTHING = Buffer.alloc(0)

/**
 * An incremental HTTP/1.1 parser for both directions, deliberately not node's: what the gateway sends is judged by
 * something that shares no code with it. Strict where it matters to a test: CRLF only, no folding, no lenient lengths.
 */
export class MessageParser {
  readonly #events: MessageEvents
  #state: 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers' | 'until-close' = 'head'
  #pending: Buffer = NOTHING
  #leftBytes = 0

  constructor(events: MessageEvents) {
    this.#events = events
  }

  /** True while no message has been begun: a FIN here truncates nothing. */
  get isBetweenMessages(): boolean {
    return this.#state === 'head' && this.#pending.length === 0
  }

  push(bytes: Buffer): void {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes])
    while (this.#pending.length > 0 && this.#step());
  }

  /** The peer sent FIN. Ends a body that only the close delimits; true when nothing was cut off. */
  finish(): boolean {
    if (this.#state === 'until-close') this.#end([])
    return this.isBetweenMessages
  }

  #step(): boolean {
    switch (this.#state) {
      case 'head':
        return this.#head()
      case 'length':
      case 'chunk':
        return this.#counted()
      case 'until-close':
        this.#events.body(this.#take(this.#pending.length))
        return false
      case 'chunk-size':
        return this.#line(line => {
          const size = /^([0-9a-fA-F]{1,12})(?:[ \t]*;.*)?$/.exec(line)?.[1]
          if (size === undefined) throw new MalformedMessage(`not a chunk size: ${JSON.stringify(line.slice(0, 40))}`)
          this.#leftBytes = Number.parseInt(size, 16)
          this.#state = this.#leftBytes === 0 ? 'trailers' : 'chunk'
        })
      case 'chunk-end':
        return this.#line(line => {
          if (line !== '') throw new MalformedMessage('a chunk is longer than it says')
          this.#state = 'chunk-size'
        })
      case 'trailers':
        return this.#trailers()
    }
  }

  #head(): boolean {
    const end = this.#pending.indexOf('\r\n\r\n')
    if (end < 0) {
      if (this.#pending.length > MAX_HEAD_BYTES) throw new MalformedMessage('a head without end')
      return false
    }
    const [startLine = '', ...lines] = this.#take(end + 4)
      .toString('latin1', 0, end)
      .split('\r\n')
    const framing = this.#events.head({ startLine, headers: lines.map(parseHeader) })
    if (framing === 'none') this.#end([])
    else if (framing === 'chunked') this.#state = 'chunk-size'
    else if (framing === 'until-close') this.#state = 'until-close'
    else if (framing !== 'interim') {
      this.#leftBytes = framing.lengthBytes
      this.#state = 'length'
      if (this.#leftBytes === 0) this.#end([])
    }
    return true
  }

  #counted(): boolean {
    const bytes = this.#take(Math.min(this.#leftBytes, this.#pending.length))
    this.#leftBytes -= bytes.length
    this.#events.body(bytes)
    if (this.#leftBytes > 0) return false
    if (this.#state === 'chunk') this.#state = 'chunk-end'
    else this.#end([])
    return true
  }

  #trailers(): boolean {
    if (this.#pending.length >= 2 && this.#pending.indexOf('\r\n') === 0) {
      this.#take(2)
      this.#end([])
      return true
    }
    const end = this.#pending.indexOf('\r\n\r\n')
    if (end < 0) return false
    this.#end(
      this.#take(end + 4)
        .toString('latin1', 0, end)
        .split('\r\n')
        .map(parseHeader),
    )
    return true
  }

  #line(use: (line: string) => void): boolean {
    const end = this.#pending.indexOf('\r\n')
    if (end < 0) {
      if (this.#pending.length > 1024) throw new MalformedMessage('a chunk header without end')
      return false
    }
    use(this.#take(end + 2).toString('latin1', 0, end))
    return true
  }

  #take(bytes: number): Buffer {
    const taken = this.#pending.subarray(0, bytes)
    this.#pending = this.#pending.subarray(bytes)
    return taken
  }

  #end(trailers: RawHeaders): void {
    this.#state = 'head'
    this.#events.end(trailers)
  }
}

function parseHeader(line: string): readonly [string, string] {
  const colon = line.indexOf(':')
  if (colon < 1) throw new MalformedMessage(`not a header: ${JSON.stringify(line.slice(0, 60))}`)
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}

/** The value of a header by its name in any case; several are joined as RFC 9110 5.3 does. */
export function headerOf(headers: RawHeaders, name: string): string | undefined {
  const values = headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  return values.length > 0 ? values.join(', ') : undefined
}

/** RFC 9112 6.3: chunked before Content-Length; `otherwise` where neither is given. */
export function framingOf(headers: RawHeaders, otherwise: 'none' | 'until-close'): Framing {
  const coding = headerOf(headers, 'transfer-encoding')
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') throw new MalformedMessage(`Transfer-Encoding: ${coding}`)
    return 'chunked'
  }
  const length = headerOf(headers, 'content-length')
  if (length === undefined) return otherwise
  if (!/^\d+$/.test(length)) throw new MalformedMessage(`Content-Length: ${length}`)
  return { lengthBytes: Number(length) }
}
