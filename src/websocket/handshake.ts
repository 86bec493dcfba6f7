/**
 * What a client's handshake becomes on the way to the upstream, and the upstream's 101 on the way back (RFC 6455
 * section 4). In a tunnel both pass as they are: subprotocols and extensions are the two ends' own business. In a relay the
 * gateway is the client of one handshake and the server of the other.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { ResponseRules } from '../exchange/response-head.ts'
import type { BoundRoute } from '../exchange/route.ts'
import { FieldCopy } from '../http1/field-copy.ts'
import { type Fields, parseFields } from '../http1/fields.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import type { UpstreamRequest } from '../upstream/request.ts'
import { switchingHead } from './switching.ts'

export interface Switch {
  /** Of the 101, as text. */
  readonly fields: string
  /** The subprotocol that was agreed on; '' for none. */
  readonly protocol: string
}

export interface ClientHandshake {
  /** The header fields for the upstream, as text. @param passed the client's */
  prepare(passed: string): string
  /** The 101 for the client; undefined where the upstream's cannot be one. */
  answer(head: UpstreamHead, rules: ResponseRules, requestId: string): Switch | undefined
}

/** @returns what is wrong, as a sentence, where it cannot succeed */
export function clientHandshake(mode: 'tunnel' | 'relay', fields: Fields): ClientHandshake | string {
  if (mode === 'tunnel') return TUNNEL
  // RFC 6455 section 4.2.1. A tunnel leaves the judgement to the upstream.
  if (fieldOf(fields, 'sec-websocket-version') !== VERSION) return 'not version 13 of WebSocket'
  const key = fieldOf(fields, 'sec-websocket-key')
  if (!KEY.test(key)) return 'not a Sec-WebSocket-Key'
  return new RelayHandshake(key, fieldOf(fields, 'sec-websocket-protocol'))
}

/** Of a field that is there several times, all of them (RFC 9110 section 5.3). */
function fieldOf(fields: Fields, name: string): string {
  const flat = fields.flat()
  return flat.filter((_, i) => i % 2 === 1 && (flat[i - 1] as string).toLowerCase() === name).join(', ')
}

/** The request for the upstream. @param clientHost what the client named */
export function handshakeRequest(
  { config, rewrite }: BoundRoute,
  target: string,
  passed: string,
  added: string,
  clientHost: string,
): UpstreamRequest {
  const { host } = config.rewrite
  return {
    method: 'GET',
    target: rewrite(target),
    passed,
    added,
    body: null,
    chunked: false,
    replayable: true,
    host: host.kind === 'upstream' ? undefined : host.kind === 'literal' ? host.value : clientHost,
    upgrade: 'websocket',
  }
}

const TUNNEL: ClientHandshake = {
  prepare: passed => passed,
  answer: (upstream, rules, requestId) => {
    const head = switchingHead(upstream, rules, requestId)
    return head === undefined ? undefined : { fields: head.fields, protocol: '' }
  },
}

export const VERSION = '13'
/** 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/
/** RFC 6455 section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** What the relay says itself, to either side. Without extensions nothing is compressed: messages pass as they are. */
const OWN = new Set(['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-extensions', 'sec-websocket-accept'])

export class RelayHandshake implements ClientHandshake {
  readonly #clientKey: string
  readonly #offered: readonly string[]
  #ownKey = ''

  constructor(clientKey: string, protocols: string) {
    this.#clientKey = clientKey
    this.#offered = protocols === '' ? [] : protocols.split(',').map(each => each.trim())
  }

  /** For the first attempt and for each reconnection: a fresh key every time. */
  prepare(passed: string): string {
    this.#ownKey = randomBytes(16).toString('base64')
    return `${without(passed, OWN)}Sec-WebSocket-Version: ${VERSION}\r\nSec-WebSocket-Key: ${this.#ownKey}\r\n`
  }

  answer(upstream: UpstreamHead, rules: ResponseRules, requestId: string): Switch | undefined {
    const protocol = this.accepted(upstream)
    const head = protocol === undefined ? undefined : switchingHead(upstream, rules, requestId)
    if (head === undefined || protocol === undefined) return undefined
    const fields = `${without(head.fields, OWN)}Sec-WebSocket-Accept: ${acceptOf(this.#clientKey)}\r\n`
    return { fields, protocol }
  }

  /** The subprotocol of a 101 that answers our own key (RFC 6455 section 4.1, the client's requirements). */
  accepted(head: UpstreamHead): string | undefined {
    const fields = new Map<string, string>()
    for (let i = 0; i < head.fields.count; i++) {
      fields.set(head.fields.name(i).toLowerCase(), head.fields.value(i).trim())
    }
    if (fields.get('upgrade')?.toLowerCase() !== 'websocket') return undefined
    if (fields.get('sec-websocket-accept') !== acceptOf(this.#ownKey)) return undefined
    if ((fields.get('sec-websocket-extensions') ?? '') !== '') return undefined
    const protocol = fields.get('sec-websocket-protocol') ?? ''
    return protocol === '' || this.#offered.includes(protocol) ? protocol : undefined
  }
}

function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}

/** @param text fields, each with its CRLF */
function without(text: string, names: ReadonlySet<string>): string {
  const fields = parseFields(text, 0, Infinity)
  const copy = new FieldCopy(fields)
  for (let i = 0; i < fields.count; i++) if (!names.has(fields.name(i).toLowerCase())) copy.add(i)
  return copy.text
}
