/** The head of a response, taken apart (RFC 9112 section 4). */
import {
  CR,
  type Fields,
  isLike,
  isNamed,
  LF,
  latin1,
  lengthOf,
  listed,
  notHttp,
  parseFields,
  SPACE,
  says,
  TEXT,
} from './fields.ts'

/** More than any application sends; Envoy's limit is 100. */
export const MAX_FIELDS = 256

export interface UpstreamHead {
  readonly status: number
  readonly statusText: string
  /** As they came. */
  readonly fields: Fields
  /** All that `Connection` lists; '' for nothing. */
  readonly connection: string
  /** -1: not declared. */
  readonly contentLength: number
  readonly chunked: boolean
  /** The connection may serve another request after this response. */
  readonly keepAlive: boolean
  /** The upstream's own idle timeout, of its `Keep-Alive`, seconds; -1: not said. */
  readonly keepAliveHint: number
}

/** How many characters of a head must be right from the first: `HTTP/1.1 200`. */
const STATUS_LINE_BEGINS = 'HTTP/1.'
const VERSION_AT = STATUS_LINE_BEGINS.length
const STATUS_AT = VERSION_AT + 2
const REASON_AT = STATUS_AT + 3

/**
 * What is seen of a head before all of it is here: nobody should wait for the rest of what is none.
 * @returns false where it cannot become a head of HTTP/1
 */
export function mayBeHead(text: string): boolean {
  const { length } = text
  if (length < VERSION_AT) return STATUS_LINE_BEGINS.startsWith(text)
  if (!text.startsWith(STATUS_LINE_BEGINS)) return false
  if (length > VERSION_AT && !isMinorVersion(text.charCodeAt(VERSION_AT))) return false
  if (length > VERSION_AT + 1 && text.charCodeAt(VERSION_AT + 1) !== SPACE) return false
  for (let i = STATUS_AT; i < Math.min(length, REASON_AT); i++) if (!isDigit(text.charCodeAt(i))) return false
  return true
}

/**
 * @param text from the first byte of the head to the CRLF of its last field, in latin1, without the empty line
 * @param bytes the same, from `start` on
 * @throws an error with the code `NOT_HTTP`
 */
export function parseHead(text: string, bytes = latin1(text), start = 0): UpstreamHead {
  if (!mayBeHead(text) || text.length < REASON_AT) throw notHttp('not a response of HTTP/1')
  const minor = text.charCodeAt(VERSION_AT) - 48
  const status =
    (text.charCodeAt(STATUS_AT) - 48) * 100 +
    (text.charCodeAt(STATUS_AT + 1) - 48) * 10 +
    (text.charCodeAt(STATUS_AT + 2) - 48)
  // RFC 9110 section 15: what is above 599 is for internal use, and a client cannot know it.
  if (status < 100 || status > 599) throw notHttp('not a status of HTTP')
  let at = REASON_AT
  if (text.charCodeAt(at) === SPACE) at++
  else if (text.charCodeAt(at) !== CR) throw notHttp('not a status line')
  const reasonAt = at
  while (TEXT[bytes[start + at] as number] === 1) at++
  if (text.charCodeAt(at) !== CR || text.charCodeAt(at + 1) !== LF) throw notHttp('not a status line')
  const statusText = text.slice(reasonAt, at)

  const fields = parseFields(text, at + 2, MAX_FIELDS, bytes, start)
  let contentLength = -1
  let chunked = false
  let connection = ''
  let keepAliveHint = -1
  for (let i = 0; i < fields.count; i++) {
    // Nearly all fields are told apart by their length.
    switch (fields.nameLength(i)) {
      case 10: {
        const name = fields.name(i)
        if (isNamed(name, 'Connection', 'connection')) connection = listed(connection, fields.value(i))
        else if (isNamed(name, 'Keep-Alive', 'keep-alive')) keepAliveHint = hintOf(fields.value(i))
        break
      }
      case 14: {
        const name = fields.name(i)
        if (!isLike(name, 'Content-Length', 'content-length')) break
        // RFC 9112 section 6.3: several that differ, or one that is no number, cannot be relayed.
        if (name[7] !== '-' || contentLength !== -1) throw ambiguous()
        contentLength = lengthOf(fields.value(i))
        if (contentLength === -1) throw ambiguous()
        break
      }
      case 17: {
        const name = fields.name(i)
        if (!isLike(name, 'Transfer-Encoding', 'transfer-encoding')) break
        // Of HTTP/1.0, which knows none (RFC 9112 section 6.1), given twice, or one that is not ours to undo.
        if (name[8] !== '-' || minor === 0 || chunked || fields.value(i).toLowerCase() !== 'chunked') throw ambiguous()
        chunked = true
        break
      }
      default:
    }
  }
  if (chunked && contentLength !== -1) throw ambiguous()
  // RFC 9110 section 15.2: an interim response has no body.
  if (status < 200 && (chunked || contentLength !== -1)) throw notHttp('an interim response that is none')
  // RFC 9110 section 7.8: HTTP/1.0 has no Upgrade.
  if (status === 101 && minor === 0) throw notHttp('a switch of protocols in HTTP/1.0')
  // RFC 9112 section 9.3: `close` counts before all else.
  const keepAlive = !says(connection, 'close') && (minor === 1 || says(connection, 'keep-alive'))
  return { status, statusText, fields, connection, contentLength, chunked, keepAlive, keepAliveHint }
}

function ambiguous(): Error {
  return notHttp('the framing of the response is ambiguous')
}

function hintOf(value: string): number {
  const seconds = /(?:^|[\s,;])timeout\s*=\s*(\d{1,9})/i.exec(value)?.[1]
  return seconds === undefined ? -1 : Number(seconds)
}

function isMinorVersion(code: number): boolean {
  return code === 48 || code === 49
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}
