/**
 * What Node's parser lets through and HTTP does not (stack fact 31, measured by test/hostile). llhttp itself refuses the
 * rest: bare CR and LF, folded lines, spaces around names, control bytes, two lengths, bad chunk sizes. One pass over the
 * raw fields, because `req.headers` has already forgotten doubles.
 */
import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'

/** As in Envoy (`max_headers_count`) and HAProxy (`tune.http.maxhdr` 101). Node's own limit drops fields silently. */
const MAX_FIELDS = 100

/** No sign, no padding, nothing above 2^53 (RFC 9110 section 8.6; llhttp takes `007` and 2^64 - 1). */
const LENGTH = /^(?:0|[1-9]\d{0,14})$/
/** RFC 3986 section 3.2.2, less what no name in DNS and no address has: escapes, user names, sub-delimiters. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/

export interface Unacceptable {
  readonly status: 400 | 431
  readonly why: string
}

/** @returns undefined for a request that every recipient reads alike */
export function unacceptable(req: IncomingMessage): Unacceptable | undefined {
  const { rawHeaders, httpVersionMajor, httpVersionMinor } = req
  // llhttp knows 0.9 and 2.0 too, each of them on one line of text (RFC 9112 section 2.3).
  if (httpVersionMajor !== 1) return bad('not a version of HTTP/1')
  if (rawHeaders.length > 2 * MAX_FIELDS) return { status: 431, why: `more than ${MAX_FIELDS} header fields` }
  let host: string | undefined
  let length = false
  let coded = false
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    switch (name.length) {
      case 4:
        if (name !== 'Host' && name.toLowerCase() !== 'host') break
        // RFC 9112 section 3.2. Node keeps the first of two; others keep the last.
        if (host !== undefined) return bad('two Host fields')
        host = rawHeaders[i + 1] as string
        if (!isHost(host)) return bad('not a host')
        break
      case 14: {
        const lower = name === 'Content-Length' ? 'content-length' : name.toLowerCase()
        if (lower === 'content-length') {
          if (length || !LENGTH.test(rawHeaders[i + 1] as string)) return bad('not a Content-Length')
          length = true
        } else if (looksLike(lower, 'content-length')) return bad('almost Content-Length')
        break
      }
      case 17: {
        const lower = name.toLowerCase()
        if (lower === 'transfer-encoding') {
          // RFC 9112 section 6.1: HTTP/1.0 has none, and the gateway knows none but this one.
          if (coded || httpVersionMinor === 0) return bad('an unexpected Transfer-Encoding')
          if ((rawHeaders[i + 1] as string).toLowerCase() !== 'chunked') return bad('an unknown Transfer-Encoding')
          coded = true
        } else if (looksLike(lower, 'transfer-encoding')) return bad('almost Transfer-Encoding')
        break
      }
      default:
    }
  }
  if (coded && length) return bad('Content-Length beside Transfer-Encoding')
  if (host === undefined && httpVersionMinor === 1) return bad('no Host field')
  return undefined
}

function bad(why: string): Unacceptable {
  return { status: 400, why }
}

/** `Transfer_Encoding`: a CGI-like upstream maps it to the same variable as the real one. */
function looksLike(name: string, real: string): boolean {
  return name.replace(/[^a-z]/g, '-') === real
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
