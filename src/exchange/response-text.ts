/** What is written to a client: the heads of responses, as text (RFC 9112 section 4). */
import { STATUS_CODES } from 'node:http'
import type { ResponseHead } from './response-head.ts'

/**
 * @param chunked the length of the body is not known
 * @param last the connection is closed behind it
 */
export function responseText(head: ResponseHead, chunked: boolean, last: boolean): string {
  const { status, statusText, headers, dated } = head
  let text = `HTTP/1.1 ${status} ${statusText === '' ? (STATUS_CODES[status] ?? 'unknown') : statusText}\r\n`
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
  if (!dated) text += `Date: ${date()}\r\n`
  if (chunked) text += 'Transfer-Encoding: chunked\r\n'
  return text + (last ? 'Connection: close\r\n\r\n' : 'Connection: keep-alive\r\n\r\n')
}

/** @returns undefined where there is nothing to tell: an early hint that hints at nothing */
export function interimText(status: number, headers: readonly string[]): string | undefined {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`
  if (status !== 103) return `${text}\r\n`
  let linked = false
  for (let i = 0; i < headers.length; i += 2) {
    text += `${headers[i]}: ${headers[i + 1]}\r\n`
    if ((headers[i] as string).toLowerCase() === 'link') linked = true
  }
  return linked ? `${text}\r\n` : undefined
}

/** @param trailers flat, name and value in turn */
export function trailerText(trailers: readonly string[]): string {
  let text = ''
  for (let i = 0; i < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`
  return text
}

let datedSecond = 0
let dateText = ''

/** RFC 9110 section 6.6.1: a recipient with a clock adds it where the sender had none. */
function date(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== datedSecond) {
    datedSecond = second
    dateText = new Date(second * 1000).toUTCString()
  }
  return dateText
}
