/**
 * The request target, made plain before it is matched: the bytes that are matched are the bytes that are forwarded.
 * Dot segments are resolved here (RFC 3986 section 5.2.4), because an upstream that resolves them later would serve a
 * path that no route allowed; what two parsers could read in two ways is refused.
 */

export interface Target {
  /** Path and query string, the path normalised. */
  readonly target: string
  /** From an absolute-form target (RFC 9112 section 3.2.2); undefined: the Host header decides. */
  readonly authority: string | undefined
  /** The path has a `%2F`: most routes refuse it. */
  readonly encodedSlash: boolean
}

/** Nothing to resolve, nothing to refuse: nearly every request. */
const PLAIN = /^\/(?:[^%\\#\x00-\x20\x7f-\xff?.]|(?<!\/)\.)*(?:\?[^#\x00-\x20\x7f-\xff]*)?$/
/** In the path a backslash too: some read it as a slash. */
const FORBIDDEN = /[#\x00-\x20\x7f-\xff]/
/** Encoded backslash, NUL and other controls. */
const FORBIDDEN_ESCAPE = /\\|%(?:5c|[01][0-9a-f]|7f)/i
const ENCODED_SLASH = /%2f/i
const ENCODED_DOTS = /%2f\.\.?(?:\/|%2f|$)|(?:^|\/)\.\.?%2f/i
const BROKEN_ESCAPE = /%(?![0-9a-f]{2})/i
const UNRESERVED_ESCAPE = /%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi

/** @returns undefined where the target is not one that can be matched and forwarded alike */
export function readTarget(url: string): Target | undefined {
  if (PLAIN.test(url)) return { target: url, authority: undefined, encodedSlash: false }
  let rest = url
  let authority: string | undefined
  const absolute = /^https?:\/\/([^/?#]*)/i.exec(url)
  if (absolute !== null) {
    authority = (absolute[1] as string).toLowerCase()
    if (authority === '' || authority.includes('@')) return undefined
    rest = url.slice(absolute[0].length)
    if (!rest.startsWith('/')) rest = `/${rest}`
  }
  if (!rest.startsWith('/') || FORBIDDEN.test(rest)) return undefined
  const at = rest.indexOf('?')
  const query = at === -1 ? '' : rest.slice(at)
  const path = readPath(at === -1 ? rest : rest.slice(0, at))
  return path === undefined ? undefined : { target: path + query, authority, encodedSlash: ENCODED_SLASH.test(path) }
}

function readPath(raw: string): string | undefined {
  if (BROKEN_ESCAPE.test(raw) || FORBIDDEN_ESCAPE.test(raw) || !isUtf8(raw)) return undefined
  // An escaped unreserved character is the character (RFC 3986 section 6.2.2.2): `%61pi` is `api`, `%2e%2e` is `..`.
  const path = raw.replace(UNRESERVED_ESCAPE, hex => String.fromCharCode(Number.parseInt(hex.slice(1), 16)))
  // Where an encoded slash is let through, an upstream that decodes it must not find a dot segment behind it.
  if (ENCODED_DOTS.test(path)) return undefined
  if (!path.includes('/.')) return path
  const kept: string[] = []
  const segments = path.split('/')
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] as string
    const last = i === segments.length - 1
    if (segment === '..') {
      // Above the root: there is no such path, and clamping it would serve one that was not asked for.
      if (kept.length === 0) return undefined
      kept.pop()
      if (last) kept.push('')
    } else if (segment === '.') {
      if (last) kept.push('')
    } else {
      kept.push(segment)
    }
  }
  return `/${kept.join('/')}`
}

/** Overlong and broken UTF-8 (`%c0%af`) is decoded differently by everybody (Unicode TR 36 section 3.1). */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/** The host that routes are matched against: lower-case, without port; '' where there is none. */
export function hostnameOf(authority: string): string {
  const end = authority.startsWith('[') ? authority.indexOf(']') + 1 : authority.indexOf(':')
  return (end > 0 ? authority.slice(0, end) : authority).toLowerCase()
}
