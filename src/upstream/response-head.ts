/**
 * The head of a response, taken apart. As strict as RFC 9112 is where two readers could disagree about what was said:
 * what is not a head of HTTP/1 in every detail is refused, and no guess is made.
 */

/** The code of what is no HTTP, or none that was asked for. */
export const NOT_HTTP = 'HOPGATE_NOT_HTTP'

/** More than any application sends; Envoy's limit is 100. */
const MAX_FIELDS = 256

export function notHttp(what: string): Error {
  return Object.assign(new Error(what), { code: NOT_HTTP })
}

export interface UpstreamHead {
  readonly status: number
  readonly statusText: string
  /** Flat, name and value in turn, as they came. */
  readonly headers: readonly string[]
  /** -1: not declared. */
  readonly contentLength: number
  readonly chunked: boolean
  /** The connection may serve another request after this response. */
  readonly keepAlive: boolean
  /** The upstream's own idle timeout, of its `Keep-Alive`, seconds; -1: not said. */
  readonly keepAliveHint: number
}

/** RFC 9110 section 5.6.2. */
const TOKEN = table("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
/** RFC 9110 section 5.5: no control characters but the tab. */
const TEXT = new Uint8Array(256).map((_, code) => (code === 9 || (code >= 0x20 && code !== 0x7f) ? 1 : 0))

const TAB = 9
const LF = 10
const CR = 13
const SPACE = 32
const COLON = 58

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
  const prefix = Math.min(text.length, VERSION_AT)
  if (text.slice(0, prefix) !== STATUS_LINE_BEGINS.slice(0, prefix)) return false
  if (text.length > VERSION_AT && text[VERSION_AT] !== '0' && text[VERSION_AT] !== '1') return false
  if (text.length > VERSION_AT + 1 && text[VERSION_AT + 1] !== ' ') return false
  for (let i = STATUS_AT; i < Math.min(text.length, REASON_AT); i++) if (!isDigit(text.charCodeAt(i))) return false
  return true
}

/**
 * @param text from the first byte of the head to the CRLF of its last field, in latin1, without the empty line
 * @throws an error with the code `NOT_HTTP`
 */
export function parseHead(text: string): UpstreamHead {
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
  while (TEXT[text.charCodeAt(at)] === 1) at++
  if (text.charCodeAt(at) !== CR || text.charCodeAt(at + 1) !== LF) throw notHttp('not a status line')
  const statusText = text.slice(reasonAt, at)

  const headers = parseFields(text, at + 2)
  let contentLength = -1
  let chunked = false
  let connection = ''
  let keepAliveHint = -1
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    // Nearly all fields are told apart by their length.
    switch (name.length) {
      case 10: {
        const lower = name.toLowerCase()
        if (lower === 'connection') connection = connection === '' ? value : `${connection},${value}`
        else if (lower === 'keep-alive') keepAliveHint = hintOf(value)
        break
      }
      case 14:
        if (!isLike(name, 'content-length')) break
        // RFC 9112 section 6.3: several that differ, or one that is no number, cannot be relayed.
        if (name[7] !== '-' || contentLength !== -1 || !/^(?:0|[1-9]\d{0,14})$/.test(value)) throw ambiguous()
        contentLength = Number(value)
        break
      case 17:
        if (!isLike(name, 'transfer-encoding')) break
        // Of HTTP/1.0, which knows none (RFC 9112 section 6.1), given twice, or one that is not ours to undo.
        if (name[8] !== '-' || minor === 0 || chunked || value.toLowerCase() !== 'chunked') throw ambiguous()
        chunked = true
        break
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
  return { status, statusText, headers, contentLength, chunked, keepAlive, keepAliveHint }
}

/**
 * The fields of a head or of a trailer section: flat, name and value in turn.
 * @param text ends with a CRLF
 * @throws an error with the code `NOT_HTTP`
 */
export function parseFields(text: string, from: number): string[] {
  const fields: string[] = []
  let at = from
  while (at < text.length) {
    const nameAt = at
    while (TOKEN[text.charCodeAt(at)] === 1) at++
    // A name that is empty, a folded line (RFC 9112 section 5.2), white space before the colon (section 5.1).
    if (at === nameAt || text.charCodeAt(at) !== COLON) throw notHttp('not a header field')
    const name = text.slice(nameAt, at)
    do at++
    while (isBlank(text.charCodeAt(at)))
    const valueAt = at
    while (TEXT[text.charCodeAt(at)] === 1) at++
    if (text.charCodeAt(at) !== CR || text.charCodeAt(at + 1) !== LF) throw notHttp('not a header field')
    let end = at
    // A tab stays: before some readers `chunked\t` is a coding, before others it is none.
    while (end > valueAt && text.charCodeAt(end - 1) === SPACE) end--
    fields.push(name, text.slice(valueAt, end))
    at += 2
  }
  if (fields.length > 2 * MAX_FIELDS) throw notHttp(`more than ${MAX_FIELDS} header fields`)
  return fields
}

function ambiguous(): Error {
  return notHttp('the framing of the response is ambiguous')
}

/** Framing to whoever maps `_` to `-`, and none to whoever does not. */
function isLike(name: string, framing: string): boolean {
  return name.toLowerCase().replace('_', '-') === framing
}

function says(connection: string, token: string): boolean {
  if (connection === '') return false
  const lower = connection.toLowerCase()
  return lower === token || lower.split(',').some(each => each.trim() === token)
}

function hintOf(value: string): number {
  const seconds = /(?:^|[\s,;])timeout\s*=\s*(\d{1,9})/i.exec(value)?.[1]
  return seconds === undefined ? -1 : Number(seconds)
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}

function table(characters: string): Uint8Array {
  const codes = new Uint8Array(256)
  for (const character of characters) codes[character.charCodeAt(0)] = 1
  return codes
}
