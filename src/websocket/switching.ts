/** The two heads of an upgrade: what makes a request one, and the 101 that the client gets. */
import type { IncomingMessage } from 'node:http'
import { type ResponseHead, type ResponseRules, responseHead } from '../exchange/response-head.ts'
import type { UpstreamHead } from '../upstream/response-head.ts'

/**
 * RFC 6455 section 4.1: a GET of HTTP/1.1 without a body. RFC 9110 section 7.8 has a server ignore an `Upgrade` in
 * HTTP/1.0, and lets it ignore any other: those are served as the plain requests that they also are.
 */
export function isWebSocketUpgrade(req: IncomingMessage): boolean {
  const { headers } = req
  return (
    req.method === 'GET' &&
    req.httpVersionMinor === 1 &&
    headers['transfer-encoding'] === undefined &&
    Number(headers['content-length'] ?? 0) === 0 &&
    listsToken(headers.upgrade, 'websocket')
  )
}

/** Whether a list of tokens (RFC 9110 section 5.6.1) has this one, in any case. */
export function listsToken(list: string | undefined, token: string): boolean {
  if (list === undefined) return false
  return list.toLowerCase() === token || list.split(',').some(each => each.trim().toLowerCase() === token)
}

/** @returns undefined where the 101 is for something else */
export function switchingHead(
  upstream: UpstreamHead,
  rules: ResponseRules,
  requestId: string,
): ResponseHead | undefined {
  const { headers: raw } = upstream
  let upgrade: string | undefined
  for (let i = 0; i < raw.length; i += 2) {
    if ((raw[i] as string).toLowerCase() === 'upgrade') upgrade = raw[i + 1]
  }
  if (upgrade?.toLowerCase() !== 'websocket') return undefined
  const head = responseHead(upstream, rules, requestId)
  return { ...head, headers: ['Connection', 'Upgrade', 'Upgrade', 'websocket', ...head.headers] }
}

/** Field values were read by a parser that lets no CR or LF through. */
export function headText(fields: readonly string[]): string {
  let text = 'HTTP/1.1 101 Switching Protocols\r\n'
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`
  return `${text}\r\n`
}
