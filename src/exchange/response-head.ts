/** The response head as the client gets it: the upstream's fields in their order and case, less those of its hop. */
import type { HeaderRules } from '../config/config.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import { dropListed } from './request-head.ts'

type Action = 'drop' | 'connection' | 'content-length'

const ACTIONS: readonly (readonly [string, Action])[] = [
  ['connection', 'connection'],
  ['keep-alive', 'drop'],
  ['proxy-connection', 'drop'],
  ['proxy-authenticate', 'drop'],
  ['te', 'drop'],
  ['upgrade', 'drop'],
  ['transfer-encoding', 'drop'],
  ['content-length', 'content-length'],
  ['x-request-id', 'drop'],
]

const PLAIN_TEXT = /^[\t\x20-\x7e]*$/

export interface ResponseRules {
  readonly actions: ReadonlyMap<string, Action>
  readonly set: readonly string[]
}

export function responseRules(rules: HeaderRules, pseudonym: string): ResponseRules {
  const actions = new Map<string, Action>(ACTIONS)
  for (const name of rules.remove) actions.set(name, 'drop')
  for (const [name] of rules.set) actions.set(name.toLowerCase(), 'drop')
  // Whatever the upstream spoke: 1.1 is what was asked for.
  return { actions, set: [...rules.set.flat(), 'Via', `1.1 ${pseudonym}`] }
}

export interface ResponseHead {
  readonly status: number
  readonly statusText: string
  /** Flat, name and value in turn. */
  readonly headers: string[]
  /** -1: not declared. */
  readonly contentLength: number
  /** The fields have a `Date`; where they have not, the gateway adds one. */
  readonly dated: boolean
}

export function responseHead(head: UpstreamHead, rules: ResponseRules, requestId: string): ResponseHead {
  const { actions } = rules
  const { status, statusText, contentLength, headers: raw } = head
  const headers: string[] = []
  let listed: string | undefined
  let lengthName = ''
  let dated = false
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    const lower = name.toLowerCase()
    switch (actions.get(lower)) {
      case undefined:
        headers.push(name, raw[i + 1] as string)
        if (lower === 'date') dated = true
        break
      case 'connection':
        listed = listed === undefined ? (raw[i + 1] as string) : `${listed},${raw[i + 1]}`
        break
      case 'content-length':
        lengthName = name
        break
      default:
    }
  }
  if (listed !== undefined) dropListed(headers, listed)
  // After `Connection` was obeyed, which must not take the framing; RFC 9110 section 8.6: a 204 has none.
  if (lengthName !== '' && status !== 204) headers.push(lengthName, String(contentLength))
  for (let i = 0; i < rules.set.length; i++) headers.push(rules.set[i] as string)
  headers.push('X-Request-Id', requestId)
  // A reason phrase in UTF-8 would make Node refuse the whole head; it means nothing (RFC 9112 section 4), so it goes.
  return { status, statusText: PLAIN_TEXT.test(statusText) ? statusText : '', headers, contentLength, dated }
}

/** The fields of an early hint that are not of its hop. */
export function interimHead(raw: readonly string[], { actions }: ResponseRules): string[] {
  const headers: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    if (!actions.has(name.toLowerCase())) headers.push(name, raw[i + 1] as string)
  }
  return headers
}
