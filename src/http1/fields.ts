/**
 * What the heads of requests and of responses have in common. As strict as RFC 9112 is where two readers could disagree
 * about what was said: what is not HTTP/1 in every detail is refused, and no guess is made.
 */

/** The code of what is no HTTP, or none that was asked for. */
export const NOT_HTTP = 'HOPGATE_NOT_HTTP'

export interface NotHttp extends Error {
  readonly code: string
  /** What a client is told that sent it. */
  readonly status: number
}

export function notHttp(what: string, status = 400, code = NOT_HTTP): NotHttp {
  return Object.assign(new Error(what), { code, status })
}

export function isNotHttp(error: unknown): error is NotHttp {
  return error instanceof Error && 'status' in error && 'code' in error
}

/** RFC 9110 section 5.6.2. */
export const TOKEN = table("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
/** RFC 9110 section 5.5: no control characters but the tab. */
export const TEXT = new Uint8Array(256).map((_, code) => (code === 9 || (code >= 0x20 && code !== 0x7f) ? 1 : 0))

export const TAB = 9
export const LF = 10
export const CR = 13
export const SPACE = 32
const COLON = 58

/** RFC 9110 section 8.6: no sign, no padding, nothing above 2^53. */
const LENGTH = /^(?:0|[1-9]\d{0,14})$/

/**
 * The fields of a head or of a trailer section: flat, name and value in turn.
 * @param text ends with a CRLF
 * @param most how many there may be
 * @throws an error with the code `NOT_HTTP`
 */
export function parseFields(text: string, from: number, most: number): string[] {
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
  if (fields.length > 2 * most) throw notHttp(`more than ${most} header fields`, 431)
  return fields
}

/** @returns -1 where it is no length */
export function lengthOf(value: string): number {
  return LENGTH.test(value) ? Number(value) : -1
}

/** Framing to whoever maps what is no letter to `-` (CGI, WSGI, Rack), and none to whoever does not. */
export function isLike(name: string, framing: string): boolean {
  const lower = name.toLowerCase()
  return lower === framing || lower.replace(/[^a-z]/g, '-') === framing
}

/** Whether a list of tokens (RFC 9110 section 5.6.1) has this one, in any case. @param token in lower case */
export function says(list: string, token: string): boolean {
  if (list === '') return false
  const lower = list.toLowerCase()
  if (lower === token || !lower.includes(token)) return lower === token
  // Blanks, and no more than those: `trim` would take what is part of another token to others.
  return lower.split(',').some(each => each.replace(/^[ \t]+|[ \t]+$/g, '') === token)
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}

function table(characters: string): Uint8Array {
  const codes = new Uint8Array(256)
  for (const character of characters) codes[character.charCodeAt(0)] = 1
  return codes
}
