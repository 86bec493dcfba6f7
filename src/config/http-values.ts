/** The kinds of values that end up in HTTP: endpoints, hosts, paths, methods, header names and values, networks, PEM files. */
import { METHODS } from 'node:http'
import { isIP } from 'node:net'
import type { EndpointConfig } from './config.ts'
import { type Kind, scalar } from './kind.ts'
import { HOST_NAME, isHost, text } from './scalars.ts'
import { didYouMean } from './words.ts'

const ENDPOINT = /^(https?):\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?$/i

export const endpoint: Kind<EndpointConfig> = scalar(
  {
    type: 'endpoint',
    allowed: 'http://HOST[:PORT] or https://HOST[:PORT]',
    json: { type: 'string', pattern: '^https?://[^/?#@]+$' },
  },
  node => {
    const url = node.text
    const match = typeof node.value === 'string' ? ENDPOINT.exec(url) : null
    if (match === null && url.includes('@')) return { wrong: 'an endpoint has no user name or password', hide: true }
    if (match === null) return { wrong: wrongEndpoint(url) }
    const [, scheme, host, digits] = match
    const tls = scheme?.toLowerCase() === 'https'
    const port = digits === undefined ? (tls ? 443 : 80) : Number(digits)
    if (port < 1 || port > 65535) return { wrong: 'no such port' }
    const hostname = (host ?? '').replace(/^\[|\]$/g, '').toLowerCase()
    if (host?.startsWith('[') ? isIP(hostname) !== 6 : !isHost(hostname))
      return { wrong: 'not a host name or IP address' }
    const bare = isIP(hostname) === 6 ? `[${hostname}]` : hostname
    const authority = port === (tls ? 443 : 80) ? bare : `${bare}:${port}`
    return { value: { url, tls, hostname, port, authority } }
  },
)

function wrongEndpoint(url: string): string {
  if (!/^https?:\/\//i.test(url)) return 'an endpoint begins with http:// or https://'
  return /^https?:\/\/[^/?#]+[/?#]/i.test(url)
    ? 'an endpoint has no path, query or fragment; a path belongs in rewrite.path_prefix'
    : 'not an endpoint'
}

/** Not one of `%`, dot segments and `!'()*`: senders write them in several ways, and a match must have one. */
const PATH_CHARACTERS = 'A-Za-z0-9._~/@:$&+,;=-'
const PATH = new RegExp(`^/[${PATH_CHARACTERS}]*$`)

export const path: Kind<string> = text(
  {
    type: 'path',
    allowed: 'a / and then letters, digits and - . _ ~ / @ : $ & + , ; =',
    json: { pattern: `^/[${PATH_CHARACTERS}]*$` },
  },
  value => {
    if (!value.startsWith('/')) return 'a path begins with /'
    if (/[?#]/.test(value)) return 'a path has no query and no fragment'
    if (value.includes('%')) return 'a path is written without percent-encoding'
    if (!PATH.test(value))
      return `a path cannot contain ${JSON.stringify(/[^A-Za-z0-9._~/@:$&+,;=-]/u.exec(value)?.[0] ?? '')}`
    if (value.split('/').some(segment => segment === '.' || segment === '..')) return 'a path has no . and .. segments'
    return value.includes('//') ? 'a path has no empty segments' : null
  },
)

/** Lower-case. */
export const hostName: Kind<string> = lowerCase(
  text({ type: 'host name', allowed: 'a host name or IP address, without port or wildcard' }, value => {
    if (value.includes('*')) return 'wildcards are not supported'
    if (/^\[[0-9A-Fa-f:.]+\]$/.test(value))
      return isIP(value.slice(1, -1)) === 6 ? null : 'not an IPv6 address in the brackets'
    if (/:\d+$/.test(value)) return 'a host is written without its port'
    return HOST_NAME.test(value) ? null : 'not a host name'
  }),
)

export const serverName: Kind<string> = text({ type: 'host name', allowed: 'a host name, without port' }, value =>
  HOST_NAME.test(value) && isIP(value) === 0 ? null : 'not a host name',
)

export const rewriteHost: Kind<string> = text(
  { type: 'word or host', allowed: 'upstream, preserve, or a literal HOST[:PORT]' },
  value => (/^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?$/.test(value) ? null : 'not a host'),
)

/** `QUERY` is known from Node 22 on: the list is the running Node's. CONNECT and TRACE are not for a gateway. */
const KNOWN_METHODS = METHODS.filter(method => method !== 'CONNECT' && method !== 'TRACE')

export const method: Kind<string> = text(
  {
    type: 'method',
    allowed: 'a method that Node.js knows, in capitals, but not CONNECT or TRACE',
    json: { pattern: '^[A-Z-]+$' },
  },
  value => (KNOWN_METHODS.includes(value) ? null : `not a method${didYouMean(value, KNOWN_METHODS)}`),
)

/** RFC 9110 7.6.1, and what the gateway itself must decide to frame a message: an operator who could set these could smuggle requests. */
const OWN_HEADERS = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
]

export const headerName: Kind<string> = text(
  {
    type: 'header name',
    allowed: 'an HTTP token that is no hop-by-hop or framing header',
    json: { pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" },
  },
  value => {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value)) return 'not a header name'
    const lower = value.toLowerCase()
    if (lower === 'host') return 'Host is set by rewrite.host'
    return OWN_HEADERS.includes(lower) ? 'a hop-by-hop or framing header, which the gateway sets itself' : null
  },
)

/** Never shown in messages: these are where tokens are. */
export const headerValue: Kind<string> = text(
  {
    type: 'header value',
    allowed: 'printable ASCII, spaces and tabs',
    secret: true,
    json: { type: ['string', 'number', 'boolean'] },
  },
  value => (/^[\t\x20-\x7e]*$/.test(value) ? null : 'not printable'),
)

export const network: Kind<string> = scalar(
  { type: 'network', allowed: 'an IP address or CIDR, as 10.0.0.0/8 or fd00::/8', json: { type: 'string' } },
  node => {
    const [ip = '', bits, ...rest] = node.text.split('/')
    const version = ip.includes('%') ? 0 : isIP(ip)
    const longest = version === 4 ? 32 : 128
    if (version === 0 || rest.length > 0) return { wrong: 'not an IP address or CIDR' }
    if (bits === undefined) return { value: `${ip}/${longest}` }
    return /^\d{1,3}$/.test(bits) && Number(bits) <= longest
      ? { value: `${ip}/${Number(bits)}` }
      : { wrong: `no such prefix length for IPv${version}` }
  },
)

/** Upstreams and routes: they become label values. A leading `_` is the gateway's own (`_none`). */
export const name: Kind<string> = text(
  {
    type: 'name',
    allowed: 'a letter or digit, then letters, digits, _ . -',
    json: { pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]*$' },
  },
  value => {
    if (value.startsWith('_')) return 'names that begin with _ are reserved'
    return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(value) ? null : 'not a name'
  },
)

function lowerCase(kind: Kind<string>): Kind<string> {
  return { ...kind, read: (node, report) => kind.read(node, report)?.toLowerCase() }
}
