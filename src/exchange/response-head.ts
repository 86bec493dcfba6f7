/** The response head as the client gets it: the upstream's fields in their order and case, less those of its hop. */
import type { HeaderRules } from '../config/config.ts'
import { FieldCopy } from '../http1/field-copy.ts'
import { type Fields, fieldLines, flat, isNamed } from '../http1/fields.ts'
import type { UpstreamHead } from '../http1/response-head.ts'
import { FieldActions } from './field-actions.ts'
import { namesIn } from './request-head.ts'

type Action = 'drop' | 'content-length'

const ACTIONS: readonly (readonly [string, Action])[] = [
  ['connection', 'drop'],
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
  readonly actions: FieldActions<Action>
  /** The fields that the route sets, as text: each with its CRLF. */
  readonly setText: string
}

export function responseRules(rules: HeaderRules, pseudonym: string): ResponseRules {
  const dropped = [...rules.remove, ...rules.set.map(([name]) => name.toLowerCase())]
  const actions = [...ACTIONS, ...dropped.map(name => [name, 'drop'] as const)]
  // Whatever the upstream spoke: 1.1 is what was asked for.
  const setText = flat(fieldLines([...rules.set.flat(), 'Via', `1.1 ${pseudonym}`]))
  return { actions: new FieldActions<Action>(actions), setText }
}

export interface ResponseHead {
  readonly status: number
  readonly statusText: string
  /** As text: each with its CRLF. */
  readonly fields: string
  /** -1: not declared. */
  readonly contentLength: number
  /** The fields have a `Date`; where they have not, the gateway adds one. */
  readonly dated: boolean
}

export function responseHead(head: UpstreamHead, rules: ResponseRules, requestId: string): ResponseHead {
  const { actions } = rules
  const { status, statusText, contentLength, connection, fields } = head
  const ofHop = namesIn(connection)
  const copy = new FieldCopy(fields)
  let dated = false
  for (let i = 0; i < fields.count; i++) {
    const action = actions.of(fields, i)
    if (action === 'drop') continue
    if (action === 'content-length') {
      // RFC 9110 section 8.6: a 204 has none. What `Connection` lists cannot take the framing.
      if (status !== 204) copy.add(i)
      continue
    }
    if (ofHop?.has(fields.name(i).toLowerCase()) === true) continue
    copy.add(i)
    if (fields.nameLength(i) === 4 && isNamed(fields.name(i), 'Date', 'date')) dated = true
  }
  return {
    status,
    // A reason phrase in UTF-8 would make Node refuse the whole head; it means nothing (RFC 9112 section 4), so it goes.
    statusText: statusText === 'OK' || PLAIN_TEXT.test(statusText) ? statusText : '',
    fields: `${copy.text}${rules.setText}X-Request-Id: ${requestId}\r\n`,
    contentLength,
    dated,
  }
}

/** @returns the fields of an early hint that are not of its hop; undefined where it hints at nothing */
export function hintFields(fields: Fields, { actions }: ResponseRules): string | undefined {
  const copy = new FieldCopy(fields)
  let linked = false
  for (let i = 0; i < fields.count; i++) {
    if (actions.of(fields, i) !== undefined) continue
    copy.add(i)
    if (fields.name(i).toLowerCase() === 'link') linked = true
  }
  return linked ? copy.text : undefined
}
