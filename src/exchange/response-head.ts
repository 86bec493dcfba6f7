/** The response head as the client gets it: the upstream's fields in their order and case, less those of its hop. */
import type { HeaderRules } from '../config/config.ts'
import { dropListed } from './request-head.ts'

type Action = 'drop' | 'refuse' | 'connection' | 'transfer-encoding' | 'content-length'

const ACTIONS: readonly (readonly [string, Action])[] = [
  ['connection', 'connection'],
  ['keep-alive', 'drop'],
  ['proxy-connection', 'drop'],
  ['proxy-authenticate', 'drop'],
  ['te', 'drop'],
  ['upgrade', 'drop'],
  ['transfer-encoding', 'transfer-encoding'],
  ['content-length', 'content-length'],
  ['x-request-id', 'drop'],
  // Framing to whoever maps `_` to `-`, and none to whoever does not.
  ['transfer_encoding', 'refuse'],
  ['content_length', 'refuse'],
]

/** More than any application sends; Envoy's limit is 100. */
const MAX_FIELDS = 256

const PLAIN_TEXT = /^[\t\x20-\x7e]*$/

export interface ResponseRules {
  readonly actions: ReadonlyMap<string, Action>
  readonly set: readonly string[]
}

export function responseRules(rules: HeaderRules, pseudonym: string): ResponseRules {
  const actions = new Map<string, Action>(ACTIONS)
  for (const name of rules.remove) actions.set(name, 'drop')
  for (const [name] of rules.set) actions.set(name.toLowerCase(), 'drop')
  // Node does not tell which version the upstream spoke: 1.1 is what was asked for.
  return { actions, set: [...rules.set.flat(), 'Via', `1.1 ${pseudonym}`] }
}

export interface ResponseHead {
  readonly status: number
  readonly statusText: string
  /** Flat, name and value in turn, as `ServerResponse.writeHead` takes it. */
  readonly headers: string[]
  /** -1: not declared. */
  readonly contentLength: number
}

/**
 * @returns undefined where the framing is not one that can be relayed: undici passes `Transfer-Encoding: foo`, or
 * one given twice, as a plain 200, and the client would be handed bytes of unknown framing.
 */
export function responseHead(
  status: number,
  statusText: string,
  raw: readonly Buffer[],
  rules: ResponseRules,
  requestId: string,
): ResponseHead | undefined {
  // undici counts the bytes of names and values, not the fields.
  if (raw.length > 2 * MAX_FIELDS) return undefined
  const { actions } = rules
  const headers: string[] = []
  let listed: string | undefined
  let codings = 0
  let contentLength = -1
  let lengthName = ''
  let lengthValue = ''
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as Buffer).toString('latin1')
    switch (actions.get(name.toLowerCase())) {
      case undefined:
        headers.push(name, (raw[i + 1] as Buffer).toString('latin1'))
        break
      case 'connection': {
        const value = (raw[i + 1] as Buffer).toString('latin1')
        listed = listed === undefined ? value : `${listed},${value}`
        break
      }
      case 'transfer-encoding':
        if ((raw[i + 1] as Buffer).toString('latin1').toLowerCase() !== 'chunked' || ++codings > 1) return undefined
        break
      case 'content-length': {
        const value = (raw[i + 1] as Buffer).toString('latin1')
        // RFC 9112 section 6.3: several that differ, or one that is no number, cannot be relayed.
        if (contentLength !== -1 || !/^(?:0|[1-9]\d{0,14})$/.test(value)) return undefined
        contentLength = Number(value)
        lengthName = name
        lengthValue = value
        break
      }
      case 'refuse':
        return undefined
      default:
    }
  }
  if (codings > 0 && contentLength !== -1) return undefined
  if (listed !== undefined) dropListed(headers, listed)
  // After `Connection` was obeyed, which must not take the framing; RFC 9110 section 8.6: a 204 has none.
  if (contentLength !== -1 && status !== 204) headers.push(lengthName, lengthValue)
  for (let i = 0; i < rules.set.length; i++) headers.push(rules.set[i] as string)
  headers.push('X-Request-Id', requestId)
  // A reason phrase in UTF-8 would make Node refuse the whole head; it means nothing (RFC 9112 section 4), so it goes.
  return { status, statusText: PLAIN_TEXT.test(statusText) ? statusText : '', headers, contentLength }
}

/** For responses of HTTP/1.0, which knows none (RFC 9112 section 6.1). */
export function hasCoding(raw: readonly Buffer[]): boolean {
  return raw.some((name, i) => i % 2 === 0 && name.toString('latin1').toLowerCase() === 'transfer-encoding')
}

/** Whether an interim response claims a body (RFC 9110 section 15.2: it has none). */
export function isFraming(raw: readonly Buffer[]): boolean {
  for (let i = 0; i < raw.length; i += 2) {
    if (/^(?:transfer.encoding|content.length)$/i.test((raw[i] as Buffer).toString('latin1'))) return true
  }
  return false
}

/** The fields of an early hint that are not of its hop. */
export function interimHead(raw: readonly Buffer[], { actions }: ResponseRules): string[] {
  const headers: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as Buffer).toString('latin1')
    if (!actions.has(name.toLowerCase())) headers.push(name, (raw[i + 1] as Buffer).toString('latin1'))
  }
  return headers
}
