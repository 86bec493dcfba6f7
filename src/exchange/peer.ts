/** Who is at the other end of a client connection, and whether to believe what it says about those behind it. */
import { BlockList, isIP, isIPv6, type Socket } from 'node:net'

export interface Peer {
  /** The socket's remote address; an IPv4-mapped IPv6 address as plain IPv4. */
  readonly address: string
  /** It is one of `trusted_proxies`. */
  readonly trusted: boolean
  /** The port we listen on, for `X-Forwarded-Port`. */
  readonly localPort: number
  /** The fields that the gateway added to its latest plain request: most likely those of the next as well. */
  said?: Said | undefined
}

export interface Said {
  readonly host: string
  readonly minorVersion: number
  readonly text: string
}

export type IsTrusted = (address: string) => boolean

/** @param cidrs validated: `10.0.0.0/8`, `::1/128` */
export function trustedBy(cidrs: readonly string[]): IsTrusted {
  if (cidrs.length === 0) return () => false
  const list = new BlockList()
  for (const cidr of cidrs) {
    const slash = cidr.indexOf('/')
    const address = slash === -1 ? cidr : cidr.slice(0, slash)
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    const bits = slash === -1 ? (family === 'ipv6' ? 128 : 32) : Number(cidr.slice(slash + 1))
    list.addSubnet(address, bits, family)
  }
  return address => {
    const family = isIP(address)
    return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** `::ffff:192.0.2.1` (an IPv4 client on a dual-stack listener) is 192.0.2.1 to everybody who reads it. */
export function plainAddress(address: string): string {
  const mapped = MAPPED.exec(address)
  if (mapped === null) return address
  const [, dotted, high, low] = mapped
  if (dotted !== undefined) return dotted
  const bits = Number.parseInt(high as string, 16) * 65_536 + Number.parseInt(low as string, 16)
  return [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join('.')
}

/** RFC 4291 section 2.5.5.2, in each of the ways in which it is written. */
const MAPPED = /^(?:::|(?:0{1,4}:){5})ffff:(?:(\d+\.\d+\.\d+\.\d+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/i

/** @param localPort the listener's: to ask each connection for it would be a system call */
export function peerOf(socket: Socket, isTrusted: IsTrusted, localPort: number): Peer {
  const address = plainAddress(socket.remoteAddress ?? '')
  return { address, trusted: isTrusted(address), localPort, said: undefined }
}

/**
 * The address of the client behind a chain of trusted proxies: from the right of X-Forwarded-For, the first that is
 * not one of them. What stands further left was written by people we do not know.
 */
export function clientBehind(peer: Peer, forwardedFor: string, isTrusted: IsTrusted): string {
  const hops = forwardedFor.split(',')
  let client = peer.address
  for (let i = hops.length - 1; i >= 0; i--) {
    const hop = addressOf(hops[i] as string)
    if (hop === undefined) return client
    client = hop
    if (!isTrusted(hop)) return client
  }
  return client
}

/** `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`; undefined for anything else. */
function addressOf(hop: string): string | undefined {
  let text = hop.trim()
  if (text.startsWith('[')) text = text.slice(1, text.indexOf(']'))
  else if (isIP(text) === 0) text = text.replace(/:\d+$/, '')
  return isIP(text) === 0 ? undefined : plainAddress(text)
}
