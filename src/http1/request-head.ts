/** The head of a request, taken apart (RFC 9112 section 3), and refused where two recipients could read it in two ways. */
import { METHODS } from 'node:http'
import { isIPv6 } from 'node:net'
import {
  CR,
  type Fields,
  isLike,
  isNamed,
  LF,
  latin1,
  lengthOf,
  listed,
  type NotHttp,
  notHttp,
  parseFields,
  SPACE,
  says,
  TOKEN,
} from './fields.ts'

/** As in Envoy (`max_headers_count`) and HAProxy (`tune.http.maxhdr` 101). */
export const MAX_FIELDS = 100

/** The code of TLS that is spoken to a port where none is. */
export const TLS_SPOKEN = 'HOPGATE_TLS'

export interface ClientHead {
  readonly method: string
  /** As it came. */
  readonly target: string
  /** Of HTTP/1: 0 or 1. */
  readonly minorVersion: number
  /** As they came. */
  readonly fields: Fields
  /** All that `Connection` lists; '' for nothing. */
  readonly connection: string
  /** '' where HTTP/1.0 has none. */
  readonly host: string
  /** -1: not declared. */
  readonly contentLength: number
  readonly chunked: boolean
  /** A body follows. */
  readonly hasBody: boolean
  /** The client means to use the connection again (RFC 9112 section 9.3). */
  readonly keepAlive: boolean
  /** The client waits for a 100 before it sends its body (RFC 9110 section 10.1.1). */
  readonly expectsContinue: boolean
  /** The protocols that it would switch to (RFC 9110 section 7.8); '' for none. */
  readonly upgrade: string
}

const KNOWN_METHODS = new Set(METHODS)
const LONGEST_METHOD = Math.max(...METHODS.map(method => method.length))
/** RFC 3986 section 3.2.2, less what no name in DNS and no address has: escapes, user names, sub-delimiters. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/

const VERSION = ' HTTP/1.'
/** The first byte of a TLS record that holds a ClientHello (RFC 8446 section 5.1). */
const TLS_HANDSHAKE = 22

/**
 * A request of which so much is here, and not all: nobody should wait for the rest of what is none.
 * @throws an error with the code `NOT_HTTP` or `TLS_SPOKEN`
 */
export function checkBegun(begun: string): void {
  if (begun.charCodeAt(0) === TLS_HANDSHAKE) throw notHttp('TLS, where none is spoken', 400, TLS_SPOKEN)
  let at = 0
  while (TOKEN[begun.charCodeAt(at)] === 1) at++
  const known = at === begun.length ? at <= LONGEST_METHOD : KNOWN_METHODS.has(begun.slice(0, at))
  if (!known || (at < begun.length && begun.charCodeAt(at) !== SPACE)) throw notHttp('not a request of HTTP/1')
}

/**
 * @param text from the first byte of the head to the CRLF of its last field, in latin1, without the empty line
 * @param bytes the same, from `start` on
 * @throws an error with the code `NOT_HTTP`
 */
export function parseRequest(text: string, bytes = latin1(text), start = 0): ClientHead {
  checkBegun(text)
  const methodEnd = text.indexOf(' ')
  const method = text.slice(0, methodEnd)
  const targetAt = methodEnd + 1
  let at = targetAt
  while (isOfTarget(bytes[start + at] as number)) at++
  // RFC 9112 section 2.3: what is not 1.0 or 1.1 is another protocol, or one that nobody has written down.
  const minorVersion = text.charCodeAt(at + VERSION.length) - 48
  if (at === targetAt || !text.startsWith(VERSION, at) || (minorVersion !== 0 && minorVersion !== 1)) {
    throw notHttp('not a request line of HTTP/1')
  }
  const target = text.slice(targetAt, at)
  at += VERSION.length + 1
  if (text.charCodeAt(at) !== CR || text.charCodeAt(at + 1) !== LF) throw notHttp('not a request line of HTTP/1')
  return understand(method, target, minorVersion, parseFields(text, at + 2, MAX_FIELDS, bytes, start))
}

function understand(method: string, target: string, minorVersion: number, fields: Fields): ClientHead {
  let host: string | undefined
  let contentLength = -1
  let chunked = false
  let connection = ''
  let protocols = ''
  let expectsContinue = false
  for (let i = 0; i < fields.count; i++) {
    // Nearly all fields are told apart by their length.
    switch (fields.nameLength(i)) {
      case 4: {
        if (!isNamed(fields.name(i), 'Host', 'host')) break
        // RFC 9112 section 3.2: of two, some recipients keep the first and others the last.
        if (host !== undefined) throw notHttp('two Host fields')
        const value = fields.value(i)
        if (!isHost(value)) throw notHttp('not a host')
        host = value
        break
      }
      case 6:
        // Another expectation is dropped, and the request served (RFC 9110 section 10.1.1 leaves the choice).
        if (minorVersion === 1 && isNamed(fields.name(i), 'Expect', 'expect'))
          expectsContinue ||= says(fields.value(i), '100-continue')
        break
      case 7:
        if (isNamed(fields.name(i), 'Upgrade', 'upgrade')) protocols = listed(protocols, fields.value(i))
        break
      case 10:
        if (isNamed(fields.name(i), 'Connection', 'connection')) connection = listed(connection, fields.value(i))
        break
      case 14: {
        const name = fields.name(i)
        if (!isLike(name, 'Content-Length', 'content-length')) break
        if (name[7] !== '-') throw notHttp('almost Content-Length')
        // Even where they agree (RFC 9112 section 6.3 would let us repair that).
        if (contentLength !== -1) throw notHttp('two Content-Length fields')
        contentLength = lengthOf(fields.value(i))
        if (contentLength === -1) throw notHttp('not a Content-Length')
        break
      }
      case 17: {
        const name = fields.name(i)
        if (!isLike(name, 'Transfer-Encoding', 'transfer-encoding')) break
        if (name[8] !== '-') throw notHttp('almost Transfer-Encoding')
        // RFC 9112 section 6.1: HTTP/1.0 has none, and the gateway knows none but this one.
        if (chunked || minorVersion === 0) throw notHttp('an unexpected Transfer-Encoding')
        if (fields.value(i).toLowerCase() !== 'chunked') throw notHttp('an unknown Transfer-Encoding')
        chunked = true
        break
      }
      default:
    }
  }
  if (chunked && contentLength !== -1) throw notHttp('Content-Length beside Transfer-Encoding')
  if (host === undefined && minorVersion === 1) throw notHttp('no Host field')
  return {
    method,
    target,
    minorVersion,
    fields,
    connection,
    host: host ?? '',
    contentLength,
    chunked,
    hasBody: chunked || contentLength > 0,
    // `close` counts before all else.
    keepAlive: !says(connection, 'close') && (minorVersion === 1 || says(connection, 'keep-alive')),
    expectsContinue,
    upgrade: protocols !== '' && says(connection, 'upgrade') ? protocols : '',
  }
}

/** HTTP has two statuses where a head is too long: one for its first line, one for the rest. */
export function headTooLong(begun: string): NotHttp {
  const inFirstLine = !begun.includes('\r\n')
  return notHttp(inFirstLine ? 'a target that is too long' : 'header fields that are too long', inFirstLine ? 414 : 431)
}

/** What of these no target has is found out when it is made plain (`server/target.ts`). */
function isOfTarget(code: number): boolean {
  return code > SPACE && code !== 0x7f
}

/** Nearly all requests name the same few hosts. */
let lastHost = ''

function isHost(host: string): boolean {
  if (host === lastHost && host !== '') return true
  if (!HOST.test(host)) return false
  const bracket = host.indexOf(']')
  const port = host.indexOf(':', bracket + 1)
  if (port !== -1 && Number(host.slice(port + 1)) > 65_535) return false
  if (bracket !== -1 && !isIPv6(host.slice(1, bracket))) return false
  lastHost = host
  return true
}
