/**
 * Every fault is data: what tests, `hopgate prove`, the demo and the bench inject.
 *
 * `on` is the event at which the fault strikes, `then` what is done. All times are milliseconds, all sizes bytes.
 * `afterBytes` counts bytes that have passed before the fault strikes: of the head for `on: 'headers'`, of the payload
 * (framing not counted) for `on: 'body'`, of the upload for `on: 'request'`. Left out it is 0.
 */

/** How one side leaves: FIN (an orderly end), or RST (a reset, which drops whatever was still in flight). */
export type Leave = 'fin' | 'rst'

/** Headers as they go over the wire: order, case and duplicates kept. */
export type RawHeaders = readonly (readonly [name: string, value: string])[]

/** A slow sender or reader: so many bytes, then a pause. `{ bytesPerTick: 1, tickMs: 1000 }` is a byte a second. */
export interface Pace {
  readonly bytesPerTick: number
  readonly tickMs: number
}

/** A normal answer, written byte by byte as told: nothing is added but the framing header (no Date, no Server). */
export interface Answer {
  /** Default 200. */
  readonly status?: number
  /** Reason phrase; default the standard one. */
  readonly reason?: string
  readonly headers?: RawHeaders
  /** A number is that many bytes of `patternBytes`. Default `ok\n`. Never sent for HEAD, 204 and 304. */
  readonly body?: number | string
  /** How the end of the body is told; default `length`. `close` ends the connection by FIN after the body. */
  readonly framing?: 'length' | 'chunked' | 'close'
  /** Content-Length to claim instead of the true one; also on 204, 304 and HEAD. */
  readonly contentLength?: number
  /** Payload bytes of one chunk; default 16 KiB. */
  readonly chunkBytes?: number
  /** Sent after the last chunk (framing `chunked`). */
  readonly trailers?: RawHeaders
  /** 1xx answers sent before the head (not counted in `delayHeadersMs`). */
  readonly interim?: readonly { readonly status: number; readonly headers?: RawHeaders }[]
  readonly delayHeadersMs?: number
  readonly delayBodyMs?: number
  /** `false`: says `Connection: close` and ends by FIN afterwards. Default true. */
  readonly keepAlive?: boolean
}

/** Faults of the dial: nothing listens, or the kernel drops every SYN. */
export type DialFault =
  | { readonly on: 'dial'; readonly then: 'refuse' }
  | { readonly on: 'dial'; readonly then: 'black-hole' }

/** Faults of a connection before any request was read. */
export type ConnectionFault =
  /** Accepted, and never a word. What comes is read and thrown away, so that the peer's FIN and RST are seen. */
  | { readonly on: 'accept'; readonly then: 'hang' }
  | { readonly on: 'accept'; readonly then: Leave; readonly afterMs?: number }
  /** Bytes that nobody asked for (an unsolicited 408, say), then silence. */
  | { readonly on: 'accept'; readonly then: 'speak'; readonly bytes: string; readonly afterMs?: number }
  /** The ClientHello is read, and no ServerHello follows. */
  | { readonly on: 'tls'; readonly then: 'hang' }
  | { readonly on: 'tls'; readonly then: Leave | 'garbage' }
  /** A handshake that a verifying peer must refuse. */
  | { readonly on: 'tls'; readonly then: 'certificate'; readonly which: Exclude<CertificateName, 'good'> }

/** The server certificates of tls-fixtures.ts. */
export type CertificateName = 'good' | 'wrong-name' | 'expired' | 'unknown-ca'

/** Faults of one request; a function of the request can choose among these. */
export type RequestFault =
  /** No fault: the whole request is read, then answered. */
  | { readonly on: 'request'; readonly then: 'answer'; readonly answer?: Answer }
  /** Answered while the upload is still coming; then the rest is read, or not, or the connection is closed. */
  | {
      readonly on: 'request'
      readonly then: 'answer-early'
      readonly answer?: Answer
      readonly afterBytes?: number
      readonly rest: 'read' | 'stop-reading' | Leave
    }
  /** The upload is not read (any further), and nothing is answered. */
  | { readonly on: 'request'; readonly then: 'stop-reading'; readonly afterBytes?: number }
  /** The upload is read slowly, then answered. */
  | { readonly on: 'request'; readonly then: 'drip'; readonly pace: Pace; readonly answer?: Answer }
  | { readonly on: 'request'; readonly then: Leave; readonly afterBytes?: number }
  /** Silence after so many bytes of the answer's head: 0 is "headers never". */
  | {
      readonly on: 'headers'
      readonly then: 'hang' | Leave
      readonly afterBytes?: number | 'half'
      readonly answer?: Answer
    }
  /** The head slowly, then the body at full speed. */
  | { readonly on: 'headers'; readonly then: 'drip'; readonly pace: Pace; readonly answer?: Answer }
  /** 1xx heads, so many or endlessly; then the answer, or silence when there is none. */
  | {
      readonly on: 'headers'
      readonly then: 'interim'
      readonly status: 100 | 102 | 103
      readonly count: number | 'endless'
      readonly everyMs: number
      readonly answer?: Answer
    }
  /** Bytes that are no HTTP, then silence. */
  | { readonly on: 'headers'; readonly then: 'garbage'; readonly bytes?: string }
  /** A complete answer whose headers are too many: `headerBytes` (default 256 KiB) in lines of `lineBytes` (1 KiB). */
  | {
      readonly on: 'headers'
      readonly then: 'overflow'
      readonly headerBytes?: number
      readonly lineBytes?: number
    }
  /**
   * A 101, then silence. With `speaks` it is a server of WebSocket that says nothing by itself, but answers pings and
   * goodbyes: no fault, but what the faults of others are done to.
   */
  | { readonly on: 'headers'; readonly then: 'upgrade'; readonly protocol?: string; readonly speaks?: true }
  /** Head and so many bytes of the body, then silence, the end, or (chunked) a broken chunk header. */
  | {
      readonly on: 'body'
      readonly then: 'hang' | Leave | 'garbage'
      readonly afterBytes?: number
      readonly answer?: Answer
    }
  /** The body at full speed up to `afterBytes`, slowly from there. */
  | {
      readonly on: 'body'
      readonly then: 'drip'
      readonly pace: Pace
      readonly afterBytes?: number
      readonly answer?: Answer
    }
  /** Answers well, then closes (or speaks unasked) so long after the answer unless a further request came. */
  | { readonly on: 'idle'; readonly then: Leave; readonly afterMs: number; readonly answer?: Answer }
  | {
      readonly on: 'idle'
      readonly then: 'speak'
      readonly afterMs: number
      readonly bytes: string
      readonly answer?: Answer
    }

export type UpstreamFault = DialFault | ConnectionFault | RequestFault

/** What a client does wrong, and when. Performed by `misbehave` of client-faults.ts. */
export type ClientFault =
  | { readonly on: 'connect'; readonly then: 'hang' | Leave }
  | { readonly on: 'request-headers'; readonly then: 'hang' | Leave; readonly afterBytes?: number | 'half' }
  | { readonly on: 'request-headers'; readonly then: 'drip'; readonly pace: Pace }
  | { readonly on: 'request-body'; readonly then: 'hang' | Leave; readonly afterBytes?: number }
  | { readonly on: 'request-body'; readonly then: 'drip'; readonly pace: Pace }
  /** The whole request is sent; nothing of the answer is awaited. */
  | { readonly on: 'waiting'; readonly then: Leave | 'half-close' | 'stop-reading'; readonly afterMs?: number }
  /** The answer's head has arrived, and so much of its body. */
  | { readonly on: 'response-body'; readonly then: Leave | 'stop-reading'; readonly afterBytes?: number }
  | { readonly on: 'response-body'; readonly then: 'drip'; readonly pace: Pace }

/** What befalls the gateway's own log. Performed by log-faults.ts. */
export type LogFault =
  /** A pipe that nobody reads. */
  | { readonly on: 'log'; readonly then: 'hang' }
  /** A pipe whose reader is gone: EPIPE. */
  | { readonly on: 'log'; readonly then: 'close' }
  /** A device without space: ENOSPC. */
  | { readonly on: 'log'; readonly then: 'full' }

/** The fault that is none: `answer({ status: 503 })`. */
export function answer(answer: Answer = {}): RequestFault {
  return { on: 'request', then: 'answer', answer }
}
