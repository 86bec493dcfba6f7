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

const ZERO = 48
/** Of a length: all numbers of so many are below 2^53. */
const MOST_DIGITS = 15

/**
 * The fields of a head or of a trailer section: where each is in its text. A name or a value is cut out when it is asked
 * for, as nearly all fields pass through a gateway unread.
 */
export class Fields {
  /** Of the whole head. */
  readonly text: string
  /** For each field where its line begins and where its colon is (as `~at` where the line is not plain), and then the end. */
  readonly #places: readonly number[]

  constructor(text: string, places: readonly number[]) {
    this.text = text
    this.#places = places
  }

  get count(): number {
    return this.#places.length >> 1
  }

  /** Where the line of a field begins; of `count`: where the last one ends. */
  lineAt(i: number): number {
    return this.#places[2 * i] as number
  }

  nameLength(i: number): number {
    return this.#colonAt(i) - this.lineAt(i)
  }

  name(i: number): string {
    return this.text.slice(this.lineAt(i), this.#colonAt(i))
  }

  value(i: number): string {
    const { text } = this
    let at = this.#colonAt(i) + 1
    let end = this.lineAt(i + 1) - 2
    while (isBlank(text.charCodeAt(at))) at++
    // A tab stays: before some readers `chunked\t` is a coding, before others it is none.
    while (end > at && text.charCodeAt(end - 1) === SPACE) end--
    return text.slice(at, end)
  }

  /** The line is `Name: value` and nothing else: what `line` would make of it. */
  isPlain(i: number): boolean {
    return (this.#places[2 * i + 1] as number) >= 0
  }

  /** As a gateway writes it, with its CRLF. */
  line(i: number): string {
    return `${this.name(i)}: ${this.value(i)}\r\n`
  }

  /** Name and value in turn. */
  flat(): string[] {
    const flat: string[] = []
    for (let i = 0; i < this.count; i++) flat.push(this.name(i), this.value(i))
    return flat
  }

  #colonAt(i: number): number {
    const at = this.#places[2 * i + 1] as number
    return at < 0 ? ~at : at
  }
}

export const NO_FIELDS = new Fields('', [0])

/**
 * @param text ends with a CRLF
 * @param most how many there may be
 * @param bytes those of `text`, from `start` on: they are read in half the time
 * @throws an error with the code `NOT_HTTP`
 */
export function parseFields(text: string, from: number, most: number, bytes = latin1(text), start = 0): Fields {
  const places: number[] = []
  const end = start + text.length
  let at = start + from
  while (at < end) {
    const lineAt = at
    while (TOKEN[bytes[at] as number] === 1) at++
    // A name that is empty, a folded line (RFC 9112 section 5.2), white space before the colon (section 5.1).
    if (at === lineAt || bytes[at] !== COLON) throw notHttp('not a header field')
    const colonAt = at++
    while (TEXT[bytes[at] as number] === 1) at++
    if (at + 1 >= end || bytes[at] !== CR || bytes[at + 1] !== LF) throw notHttp('not a header field')
    const plain =
      bytes[colonAt + 1] === SPACE &&
      (at === colonAt + 2 || (!isBlank(bytes[colonAt + 2] as number) && bytes[at - 1] !== SPACE))
    places.push(lineAt - start, plain ? colonAt - start : ~(colonAt - start))
    at += 2
  }
  if (places.length > 2 * most) throw notHttp(`more than ${most} header fields`, 431)
  places.push(at - start)
  return new Fields(text, places)
}

/** Of a text in latin1. */
export function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

/** @param flat name and value in turn; none of them has a CR or an LF */
export function fieldLines(flat: readonly string[]): string {
  let text = ''
  for (let i = 0; i < flat.length; i += 2) text += `${flat[i]}: ${flat[i + 1]}\r\n`
  return text
}

/**
 * The same text in one piece, for what is kept and written often: V8 keeps a text that was put together as its pieces, and
 * goes through all of them each time it is written.
 * @param text in latin1
 */
export function flat(text: string): string {
  return latin1(text).toString('latin1')
}

/** RFC 9110 section 8.6: no sign, no padding, nothing above 2^53. @returns -1 where it is no length */
export function lengthOf(value: string): number {
  const { length } = value
  if (length === 0 || length > MOST_DIGITS || (length > 1 && value.charCodeAt(0) === ZERO)) return -1
  let number = 0
  for (let i = 0; i < length; i++) {
    const digit = value.charCodeAt(i) - ZERO
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
  }
  return number
}

/** @param usual how nearly everybody writes the name; @param lower the same in lower case */
export function isNamed(name: string, usual: string, lower: string): boolean {
  return name === usual || name.toLowerCase() === lower
}

/** Framing to whoever maps what is no letter to `-` (CGI, WSGI, Rack), and none to whoever does not. */
export function isLike(name: string, usual: string, lower: string): boolean {
  return isNamed(name, usual, lower) || name.toLowerCase().replace(/[^a-z]/g, '-') === lower
}

/** A list that goes on in another field (RFC 9110 section 5.3). @param list '' where it begins */
export function listed(list: string, more: string): string {
  return list === '' ? more : `${list},${more}`
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
