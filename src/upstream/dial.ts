/**
 * Dials an endpoint: DNS, TCP and TLS one after the other, each announced, all of it cancellable at any instant.
 */
import { type LookupAddress, lookup } from 'node:dns'
import { isIP, type LookupFunction, connect as netConnect, type OnReadOpts, type Socket } from 'node:net'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import type { EndpointConfig } from '../config/config.ts'
import { sever } from '../sever.ts'

export type DialStage = 'dns' | 'connect' | 'tls'

/** How an upstream's TLS is spoken; undefined for plain HTTP. */
export interface DialTls {
  readonly verify: boolean
  /** PEM text of additional authorities; undefined: the system's. */
  readonly ca: string | undefined
  readonly serverName: string | null
}

export interface DialEvents {
  /** The dial has entered `stage`. */
  dialStage(stage: DialStage): void
}

/** A connected pair: `socket` is what HTTP is spoken on, `raw` the TCP socket below it (the same without TLS). */
export interface Dialled {
  readonly socket: Socket
  readonly raw: Socket
}

export interface Dial {
  /** Ends the dial; its callback is called with `reason`, now. */
  cancel(reason: Error): void
}

/** TLS sessions to resume, one for each endpoint: a resumed handshake saves a round trip and most of its CPU. */
const sessions = new WeakMap<EndpointConfig, Buffer>()

/**
 * @param onread where the bytes go; with TLS they are the socket's `data`
 * @param done called exactly once: with a connected socket, or with the error that ended the dial.
 */
export function dial(
  endpoint: EndpointConfig,
  tls: DialTls | undefined,
  events: DialEvents,
  onread: OnReadOpts,
  done: (error: Error | null, dialled: Dialled | null) => void,
): Dial {
  let over = false
  let raw: Socket | undefined
  let secure: TLSSocket | undefined

  const finish = (error: Error | null): void => {
    if (over) return
    over = true
    if (error !== null) {
      // By RST where there is a connection to reset: a half-made TLS session must not linger at the upstream.
      if (raw !== undefined) sever(raw)
      secure?.destroy()
      done(error, null)
      return
    }
    const socket = secure ?? raw
    if (socket === undefined || raw === undefined) return
    socket.removeListener('error', finish)
    if (raw !== socket) raw.removeListener('error', finish)
    done(null, { socket, raw })
  }

  const toTls = (plain: Socket, options: DialTls): void => {
    events.dialStage('tls')
    const name = options.serverName ?? endpoint.hostname
    const session = sessions.get(endpoint)
    secure = tlsConnect({
      socket: plain,
      // An address is no legal SNI (RFC 6066 section 3); the certificate is checked against `host` all the same.
      ...(isIP(name) === 0 ? { servername: name } : {}),
      host: name,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
      ...(session === undefined ? {} : { session }),
      rejectUnauthorized: options.verify,
      ALPNProtocols: ['http/1.1'],
    })
    secure.on('session', (fresh: Buffer) => sessions.set(endpoint, fresh))
    secure.on('error', finish)
    secure.once('secureConnect', () => finish(null))
    // A peer that closes in mid-handshake ends the stream; TLSSocket reports it as ECONNRESET, but only sometimes.
    secure.once('close', () => finish(connectionClosed()))
  }

  const toTcp = (addresses: readonly LookupAddress[]): void => {
    if (over) return
    events.dialStage('connect')
    const plain = netConnect({
      host: endpoint.hostname,
      port: endpoint.port,
      lookup: answerWith(addresses),
      autoSelectFamily: addresses.length > 1,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      ...(tls === undefined ? { onread } : {}),
    })
    raw = plain
    plain.on('error', finish)
    plain.once('connect', () => {
      if (over) return
      if (isSelfConnected(plain)) finish(selfConnected())
      else if (tls === undefined) finish(null)
      else toTls(plain, tls)
    })
  }

  const family = isIP(endpoint.hostname)
  if (family !== 0) {
    toTcp([{ address: endpoint.hostname, family }])
  } else {
    events.dialStage('dns')
    lookup(endpoint.hostname, { all: true }, (error, addresses) => {
      if (error !== null) finish(error)
      else toTcp(addresses)
    })
  }
  return { cancel: finish }
}

function answerWith(addresses: readonly LookupAddress[]): LookupFunction {
  return (_hostname, options, callback) => {
    const first = addresses[0]
    if (options.all === true) callback(null, [...addresses])
    else callback(null, first?.address ?? '', first?.family ?? 4)
  }
}

/**
 * A dial to a port of this host that nobody listens on succeeds when the kernel happens to choose that very port for our
 * own end: the connection is then one with itself (simultaneous open, RFC 9293 section 3.5), and would answer every
 * request with the request. Measured on Linux: one of about 20 000 dials of a closed port in the ephemeral range.
 */
function isSelfConnected(socket: Socket): boolean {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress
}

function selfConnected(): Error {
  return Object.assign(new Error('nobody listens there: the dial met itself'), { code: 'ECONNREFUSED' })
}

function connectionClosed(): Error {
  return Object.assign(new Error('the connection was closed during the TLS handshake'), { code: 'ECONNRESET' })
}
