import type { Answer, RawHeaders } from './faults.ts'
import { headerOf } from './message-parser.ts'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz'
const SLICE_BYTES = 64 * 1024
const PATTERN = Buffer.from(ALPHABET.repeat(Math.ceil(SLICE_BYTES / ALPHABET.length) + 1))

const REASONS: Readonly<Record<number, string>> = {
  100: 'Continue',
  101: 'Switching Protocols',
  102: 'Processing',
  103: 'Early Hints',
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  413: 'Content Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

/** `length` bytes of the endless alphabet from byte `from` on: a receiver can tell a lost, doubled or swapped byte. */
export function patternBytes(length: number, from = 0): Buffer {
  const start = from % ALPHABET.length
  if (length <= SLICE_BYTES) return PATTERN.subarray(start, start + length)
  return Buffer.alloc(length, PATTERN.subarray(start, start + ALPHABET.length))
}

export function headOf(status: number, headers: RawHeaders, reason = REASONS[status] ?? 'Status'): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 ${status} ${reason}\r\n${lines.join('')}\r\n`, 'latin1')
}

/** RFC 9110 6.4.1: answers that have no body whatever their headers say. */
export function isBodyless(answer: Answer, method: string): boolean {
  const status = answer.status ?? 200
  return method === 'HEAD' || status === 204 || status === 304
}

export function bodyLength(answer: Answer): number {
  const body = answer.body ?? 'ok\n'
  return typeof body === 'number' ? body : Buffer.byteLength(body)
}

/** Whether the connection ends after this answer. */
export function closesAfter(answer: Answer): boolean {
  return answer.framing === 'close' || answer.keepAlive === false
}

/** The head of an answer: its own headers first and untouched, then what the framing needs unless it was given. */
export function answerHead(answer: Answer): Buffer {
  const status = answer.status ?? 200
  const headers = [...(answer.headers ?? [])]
  const framing = answer.framing ?? 'length'
  const add = (name: string, value: string): void => {
    if (headerOf(headers, name) === undefined) headers.push([name, value])
  }
  const silent = status === 204 || status === 304
  if (answer.contentLength !== undefined) add('Content-Length', String(answer.contentLength))
  else if (framing === 'chunked' && !silent) add('Transfer-Encoding', 'chunked')
  else if (framing === 'length' && !silent && headerOf(headers, 'transfer-encoding') === undefined) {
    add('Content-Length', String(bodyLength(answer)))
  }
  if (closesAfter(answer)) add('Connection', 'close')
  return headOf(status, headers, answer.reason)
}

/**
 * The body as it goes over the wire, in slices. `cutBytes` ends it after so many payload bytes: within a chunk or
 * between two, and before the last-chunk when all of the payload is sent. `sliceBytes` bounds the payload of a slice
 * from payload byte `sliceFrom` on (chunks, too, are then made so small), for a body that drips.
 */
export function* bodySlices(
  answer: Answer,
  shape: { readonly cutBytes?: number; readonly sliceBytes?: number; readonly sliceFrom?: number } = {},
): Generator<Buffer> {
  const total = bodyLength(answer)
  const cut = Math.min(shape.cutBytes ?? total, total)
  const chunked = answer.framing === 'chunked'
  const text = typeof answer.body === 'number' ? undefined : Buffer.from(answer.body ?? 'ok\n')
  const payload = (from: number, to: number): Buffer => text?.subarray(from, to) ?? patternBytes(to - from, from)
  const sliceFrom = shape.sliceFrom ?? 0
  for (let sent = 0; sent < cut; ) {
    let size = chunked ? (answer.chunkBytes ?? 16 * 1024) : SLICE_BYTES
    if (shape.sliceBytes !== undefined) size = sent < sliceFrom ? Math.min(size, sliceFrom - sent) : shape.sliceBytes
    const whole = Math.min(sent + size, total)
    const end = Math.min(whole, cut)
    const bytes = payload(sent, end)
    if (!chunked) yield bytes
    else {
      const head = Buffer.from(`${(whole - sent).toString(16)}\r\n`)
      yield Buffer.concat(end === whole ? [head, bytes, Buffer.from('\r\n')] : [head, bytes])
    }
    sent = end
  }
  if (!chunked || shape.cutBytes !== undefined) return
  const trailers = (answer.trailers ?? []).map(([name, value]) => `${name}: ${value}\r\n`)
  yield Buffer.from(`0\r\n${trailers.join('')}\r\n`, 'latin1')
}
