/** The two heads of an upgrade: what makes a request one, and the 101 that the client gets. */
import { type ResponseHead, type ResponseRules, responseHead } from '../exchange/response-head.ts'
import { isNamed, says } from '../http1/fields.ts'
import type { ClientHead } from '../http1/request-head.ts'
import type { UpstreamHead } from '../http1/response-head.ts'

/**
 * RFC 6455 section 4.1: a GET of HTTP/1.1 without a body. RFC 9110 section 7.8 has a server ignore an `Upgrade` in
 * HTTP/1.0, and lets it ignore any other: those are served as the plain requests that they also are.
 */
export function isWebSocketUpgrade({ method, minorVersion, hasBody, upgrade }: ClientHead): boolean {
  return method === 'GET' && minorVersion === 1 && !hasBody && says(upgrade, 'websocket')
}

/** @returns undefined where the 101 is for something else */
export function switchingHead(
  upstream: UpstreamHead,
  rules: ResponseRules,
  requestId: string,
): ResponseHead | undefined {
  const { fields } = upstream
  let upgrade = ''
  for (let i = 0; i < fields.count; i++) if (isNamed(fields.name(i), 'Upgrade', 'upgrade')) upgrade = fields.value(i)
  if (upgrade.toLowerCase() !== 'websocket') return undefined
  const head = responseHead(upstream, rules, requestId)
  return { ...head, fields: `Connection: Upgrade\r\nUpgrade: websocket\r\n${head.fields}` }
}

/** @param fields as text: each with its CRLF */
export function headText(fields: string): string {
  return `HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`
}
