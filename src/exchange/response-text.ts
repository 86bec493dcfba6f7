/** What is written to a client: the heads of responses, as text (RFC 9112 section 4). */
import { STATUS_CODES } from 'node:http'
import { flat } from '../http1/fields.ts'
import type { ResponseHead } from './response-head.ts'

/**
 * @param chunked the length of the body is not known
 * @param last the connection is closed behind it
 */
export function responseText(head: ResponseHead, chunked: boolean, last: boolean): string {
  const { status, statusText, fields, dated } = head
  let text = statusLine(status, statusText) + fields
  if (!dated) text += `Date: ${date()}\r\n`
  if (chunked) text += 'Transfer-Encoding: chunked\r\n'
  return text + (last ? 'Connection: close\r\n\r\n' : 'Connection: keep-alive\r\n\r\n')
}

/** @param fields as text: each with its CRLF */
export function interimText(status: number, fields: string): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n${fields}\r\n`
}

let lineStatus = 0
let lineText = ''
let line = ''

/** Of most responses it is that of the one before. */
function statusLine(status: number, statusText: string): string {
  if (status !== lineStatus || statusText !== lineText) {
    lineStatus = status
    lineText = statusText
    line = flat(`HTTP/1.1 ${status} ${statusText === '' ? (STATUS_CODES[status] ?? 'unknown') : statusText}\r\n`)
  }
  return line
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
