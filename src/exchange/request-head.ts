/**
 * The request head as the upstream gets it: the client's header fields in their order and case, less what belongs to
 * the hop, plus what only a gateway may say. One pass over the raw fields.
 */
import type { HeaderRules } from '../config/config.ts'
import type { ClientHead } from '../http1/request-head.ts'
import { clientBehind, type IsTrusted, type Peer } from './peer.ts'

/** What is done with a client's header field of a certain name. */
type Action = 'drop' | 'connection' | 'x-forwarded-for' | 'if-trusted' | 'request-id' | 'forwarded' | 'via'

/** RFC 9110 section 7.6.1, and what the gateway writes itself. */
const ACTIONS: readonly (readonly [string, Action])[] = [
  ['connection', 'connection'],
  ['keep-alive', 'drop'],
  ['proxy-connection', 'drop'],
  ['proxy-authenticate', 'drop'],
  ['proxy-authorization', 'drop'],
  ['te', 'drop'],
  // Trailer fields of a request are not forwarded, so they are not announced either.
  ['trailer', 'drop'],
  ['transfer-encoding', 'drop'],
  ['upgrade', 'drop'],
  ['http2-settings', 'drop'],
  // The gateway answers it at the client hop.
  ['expect', 'drop'],
  ['host', 'drop'],
  ['content-length', 'drop'],
  ['x-forwarded-for', 'x-forwarded-for'],
  ['x-forwarded-proto', 'if-trusted'],
  ['x-forwarded-host', 'if-trusted'],
  ['x-forwarded-port', 'if-trusted'],
  ['x-real-ip', 'drop'],
  ['forwarded', 'forwarded'],
  ['x-request-id', 'request-id'],
  ['via', 'via'],
]

/** What a `Connection` field must not strip: framing, and what this gateway sets on the way (issue 5, part 3). */
export type RequestRules = {
  readonly actions: ReadonlyMap<string, Action>
  /** The fields that the route sets, as text: each with its CRLF. */
  readonly setText: string
  /** What this gateway calls itself in `Via` (RFC 9110 section 7.6.3). */
  readonly pseudonym: string
}

/** A route's rules, merged once at start into one table with those of HTTP. */
export function requestRules(rules: HeaderRules, pseudonym: string): RequestRules {
  const actions = new Map<string, Action>(ACTIONS)
  for (const name of rules.remove) actions.set(name, 'drop')
  for (const [name] of rules.set) actions.set(name.toLowerCase(), 'drop')
  return { actions, setText: rules.set.map(([name, value]) => `${name}: ${value}\r\n`).join(''), pseudonym }
}

export interface RequestHead {
  /** Of the client's fields those that go on: flat, name and value in turn. */
  readonly headers: string[]
  /** What the gateway adds, as text: each field with its CRLF. */
  readonly added: string
  /** The address of the original client. */
  readonly clientAddress: string
  readonly requestId: string
  /** It has been here before. */
  readonly looped: boolean
}

export function requestHead(
  { headers: rawHeaders, host, minorVersion, hasBody, contentLength, method }: ClientHead,
  rules: RequestRules,
  peer: Peer,
  isTrusted: IsTrusted,
  newId: () => string,
): RequestHead {
  const { actions } = rules
  const headers: string[] = []
  let listed: string | undefined
  let forwardedFor = ''
  let forwarded = ''
  let proto = 'http'
  let forwardedHost = host
  let port = ''
  let requestId = ''
  let via = ''
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    const value = rawHeaders[i + 1] as string
    const lower = name.toLowerCase()
    switch (actions.get(lower)) {
      case undefined:
        // `X_Forwarded_For` becomes the same variable as the real one in whatever speaks CGI, WSGI or Rack.
        if (!lower.includes('_') || !actions.has(lower.replaceAll('_', '-'))) headers.push(name, value)
        break
      case 'connection':
        listed = listed === undefined ? value : `${listed},${value}`
        break
      case 'request-id':
        if (peer.trusted && isRequestId(value)) requestId = value
        break
      case 'x-forwarded-for':
        if (peer.trusted) forwardedFor = forwardedFor === '' ? value : `${forwardedFor}, ${value}`
        break
      case 'via':
        via = via === '' ? value : `${via}, ${value}`
        break
      case 'forwarded':
        if (peer.trusted) forwarded = forwarded === '' ? value : `${forwarded}, ${value}`
        break
      case 'if-trusted':
        if (!peer.trusted) break
        if (lower === 'x-forwarded-proto') proto = value
        else if (lower === 'x-forwarded-host') forwardedHost = value
        else port = value
        break
      default:
    }
  }
  if (listed !== undefined) dropListed(headers, listed)
  const clientAddress = forwardedFor === '' ? peer.address : clientBehind(peer, forwardedFor, isTrusted)
  if (requestId === '') requestId = newId()
  let added = `X-Request-Id: ${requestId}\r\n`
  if (contentLength !== -1) added = `Content-Length: ${contentLength}\r\n${added}`
  else if (!hasBody && wantsLength(method)) added = `Content-Length: 0\r\n${added}`
  const plain = forwardedFor === '' && forwarded === '' && via === '' && proto === 'http' && port === ''
  if (plain && forwardedHost === host) {
    // What is said of most requests of a connection is the same.
    let { said } = peer
    if (said === undefined || said.host !== host || said.minorVersion !== minorVersion) {
      const text = forwardedText(rules, peer, host, minorVersion, nothingSaid(proto, forwardedHost))
      said = { host, minorVersion, text }
      peer.said = said
    }
    return { headers, added: added + said.text + rules.setText, clientAddress, requestId, looped: false }
  }
  const behind = { forwardedFor, forwarded, via, proto, forwardedHost, port, clientAddress }
  added += forwardedText(rules, peer, host, minorVersion, behind) + rules.setText
  return { headers, added, clientAddress, requestId, looped: via !== '' && via.includes(rules.pseudonym) }
}

/** What those before us have said of the client, as far as they are believed; '' where they have not. */
interface Behind {
  readonly forwardedFor: string
  readonly forwarded: string
  readonly via: string
  readonly proto: string
  readonly forwardedHost: string
  readonly port: string
  readonly clientAddress: string
}

/** Spelled out: of an object that is spread and added to, V8 makes a new hidden class each time (docs/benchmarks.md). */
function nothingSaid(proto: string, forwardedHost: string): Behind {
  return { forwardedFor: '', forwarded: '', via: '', proto, forwardedHost, port: '', clientAddress: '' }
}

function forwardedText(rules: RequestRules, peer: Peer, host: string, minorVersion: number, behind: Behind): string {
  const { forwardedFor, forwarded, via, proto, forwardedHost, port, clientAddress } = behind
  const self = `1.${minorVersion} ${rules.pseudonym}`
  let text =
    `X-Forwarded-For: ${forwardedFor === '' ? peer.address : `${forwardedFor}, ${peer.address}`}\r\n` +
    `X-Forwarded-Proto: ${proto}\r\n` +
    `X-Forwarded-Host: ${forwardedHost}\r\n` +
    `X-Forwarded-Port: ${port === '' ? peer.localPort : port}\r\n` +
    `X-Real-IP: ${clientAddress === '' ? peer.address : clientAddress}\r\n`
  if (forwarded !== '') text += `Forwarded: ${forwarded}, ${forwardedElement(peer, host)}\r\n`
  text += `Via: ${via === '' ? self : `${via}, ${self}`}\r\n`
  return text
}

/**
 * Whether a request without a body says so, because its method means something by one (RFC 9110 section 8.6): some
 * servers answer 411 to silence.
 */
function wantsLength(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH'
}

/** RFC 7239 section 4: one element for this hop; an IPv6 address is bracketed and quoted. */
function forwardedElement(peer: Peer, host: string): string {
  const node = peer.address.includes(':') ? `"[${peer.address}]"` : peer.address
  return `for=${node};host="${host.replace(/["\\]/g, '')}";proto=http`
}

/** Takes the fields that `Connection` lists out of `headers`; what the gateway sets is added later and so survives. */
export function dropListed(headers: string[], listed: string): void {
  const plain = listed.toLowerCase()
  if (plain === 'keep-alive' || plain === 'close') return
  const names = new Set(plain.split(',').map(name => name.trim()))
  let kept = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (names.has(name.toLowerCase())) continue
    headers[kept++] = name
    headers[kept++] = headers[i + 1] as string
  }
  headers.length = kept
}

/** A request id that is believed is also logged and sent on: printable, and of a sane length. */
function isRequestId(value: string): boolean {
  return value.length <= 128 && /^[\x21-\x7e]+$/.test(value)
}
