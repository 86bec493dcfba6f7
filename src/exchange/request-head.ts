/**
 * The request head as the upstream gets it: the client's header fields in their order and case, less what belongs to
 * the hop, plus what only a gateway may say. One pass over the raw fields.
 */
import type { HeaderRules } from '../config/config.ts'
import { FieldCopy } from '../http1/field-copy.ts'
import { fieldLines, flat } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import { FieldActions } from './field-actions.ts'
import { clientBehind, type IsTrusted, type Peer } from './peer.ts'

/** What is done with a client's header field of a certain name. */
type Action =
  | 'drop'
  | 'via'
  // Believed of those who are trusted, and dropped of all others.
  | 'request-id'
  | 'forwarded'
  | 'x-forwarded-for'
  | 'x-forwarded-proto'
  | 'x-forwarded-host'
  | 'x-forwarded-port'

/** RFC 9110 section 7.6.1, and what the gateway writes itself. */
const ACTIONS: readonly (readonly [string, Action])[] = [
  ['connection', 'drop'],
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
  ['x-forwarded-proto', 'x-forwarded-proto'],
  ['x-forwarded-host', 'x-forwarded-host'],
  ['x-forwarded-port', 'x-forwarded-port'],
  ['x-real-ip', 'drop'],
  ['forwarded', 'forwarded'],
  ['x-request-id', 'request-id'],
  ['via', 'via'],
]

export type RequestRules = {
  readonly actions: FieldActions<Action>
  /** The fields that the route sets, as text: each with its CRLF. */
  readonly setText: string
  /** What this gateway calls itself in `Via` (RFC 9110 section 7.6.3). */
  readonly pseudonym: string
}

/** A route's rules, merged once at start into one table with those of HTTP. */
export function requestRules(rules: HeaderRules, pseudonym: string): RequestRules {
  const dropped = [...rules.remove, ...rules.set.map(([name]) => name.toLowerCase())]
  const actions = [...ACTIONS, ...dropped.map(name => [name, 'drop'] as const)]
  // `X_Forwarded_For` becomes the same variable as the real one in whatever speaks CGI, WSGI or Rack.
  return { actions: new FieldActions(actions, 'drop'), setText: flat(fieldLines(rules.set.flat())), pseudonym }
}

export interface RequestHead {
  /** Of the client's fields those that go on, as text: each with its CRLF. */
  readonly passed: string
  /** What the gateway adds, as text: each field with its CRLF. */
  readonly added: string
  /** The address of the original client. */
  readonly clientAddress: string
  readonly requestId: string
  /** It has been here before. */
  readonly looped: boolean
}

export function requestHead(
  { fields, connection, host, minorVersion, hasBody, contentLength, method }: ClientHead,
  rules: RequestRules,
  peer: Peer,
  isTrusted: IsTrusted,
  newId: () => string,
): RequestHead {
  const { actions } = rules
  const ofHop = namesIn(connection)
  const copy = new FieldCopy(fields)
  let forwardedFor = ''
  let forwarded = ''
  let proto = 'http'
  let forwardedHost = host
  let port = ''
  let requestId = ''
  let via = ''
  for (let i = 0; i < fields.count; i++) {
    const action = actions.of(fields, i)
    if (action === undefined) {
      if (ofHop === undefined || !ofHop.has(fields.name(i).toLowerCase())) copy.add(i)
      continue
    }
    if (action === 'via') via = joined(via, fields.value(i))
    if (action === 'drop' || !peer.trusted) continue
    const value = fields.value(i)
    switch (action) {
      case 'request-id':
        if (isRequestId(value)) requestId = value
        break
      case 'x-forwarded-for':
        forwardedFor = joined(forwardedFor, value)
        break
      case 'forwarded':
        forwarded = joined(forwarded, value)
        break
      case 'x-forwarded-proto':
        proto = value
        break
      case 'x-forwarded-host':
        forwardedHost = value
        break
      case 'x-forwarded-port':
        port = value
        break
      default:
    }
  }
  const passed = copy.text
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
      const text = flat(forwardedText(rules, peer, host, minorVersion, nothingSaid(proto, forwardedHost)))
      said = { host, minorVersion, text }
      peer.said = said
    }
    return { passed, added: added + said.text + rules.setText, clientAddress, requestId, looped: false }
  }
  const behind = { forwardedFor, forwarded, via, proto, forwardedHost, port, clientAddress }
  added += forwardedText(rules, peer, host, minorVersion, behind) + rules.setText
  return { passed, added, clientAddress, requestId, looped: via !== '' && via.includes(rules.pseudonym) }
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

/**
 * The names that a `Connection` field lists, in lower case; undefined where none of them is a field's. What the gateway sets
 * itself, framing above all, they do not take.
 */
export function namesIn(connection: string): ReadonlySet<string> | undefined {
  if (connection === '' || connection === 'keep-alive' || connection === 'close') return undefined
  return new Set(
    connection
      .toLowerCase()
      .split(',')
      .map(name => name.trim()),
  )
}

function joined(list: string, more: string): string {
  return list === '' ? more : `${list}, ${more}`
}

/** A request id that is believed is also logged and sent on: printable, and of a sane length. */
function isRequestId(value: string): boolean {
  return value.length <= 128 && /^[\x21-\x7e]+$/.test(value)
}
