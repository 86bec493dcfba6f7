import type { RawHeaders } from './faults.ts'
import { headerOf } from './message-parser.ts'
import { bodySlices } from './wire.ts'

/** A request as it is to go over the wire. Headers are sent as given; Host and a framing header are added when missing. */
export interface RawRequest {
  /** Default GET. */
  readonly method?: string
  /** Default `/`. */
  readonly path?: string
  readonly headers?: RawHeaders
  /** A number is that many bytes of `patternBytes`. */
  readonly body?: number | string | Buffer
  /** Send the body in chunks of 16 KiB instead of with Content-Length. */
  readonly chunked?: boolean
  readonly trailers?: RawHeaders
}

export function requestHead(request: RawRequest, port: number): Buffer {
  const headers = [...(request.headers ?? [])]
  const add = (name: string, value: string): void => {
    if (headerOf(headers, name) === undefined) headers.push([name, value])
  }
  if (headerOf(headers, 'host') === undefined) headers.unshift(['Host', `127.0.0.1:${port}`])
  if (request.chunked) add('Transfer-Encoding', 'chunked')
  else if (request.body !== undefined && headerOf(headers, 'transfer-encoding') === undefined) {
    add('Content-Length', String(typeof request.body === 'number' ? request.body : Buffer.byteLength(request.body)))
  }
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${request.method ?? 'GET'} ${request.path ?? '/'} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
}

/** The body as it goes over the wire, in slices. */
export function* requestBody(request: RawRequest): Generator<Buffer> {
  const { body } = request
  if (Buffer.isBuffer(body) && !request.chunked) {
    yield body
    return
  }
  if (body === undefined && !request.chunked) return
  yield* bodySlices({
    body: Buffer.isBuffer(body) ? body.toString() : (body ?? 0),
    framing: request.chunked ? 'chunked' : 'length',
    ...(request.trailers === undefined ? {} : { trailers: request.trailers }),
  })
}
