/** A reader of responses, and all that it tells of one message. */
import assert from 'node:assert/strict'
import type { parseHead } from '../../src/http1/response-head.ts'
import { ResponseReader } from '../../src/http1/response-reader.ts'

export interface Request {
  /** Default GET. */
  readonly method?: string
  readonly upgrade?: boolean
}

/** All that a reader has told of one message, however it came. */
export interface Told {
  readonly interims: readonly string[]
  readonly status: number | undefined
  readonly statusText: string | undefined
  readonly headers: readonly string[] | undefined
  readonly body: string
  readonly trailers: readonly string[]
  /** Bytes of the input that belong to the message. */
  readonly consumed: number
  /** The message had an end of its own; else: what `finish` says of it. */
  readonly ended: 'by itself' | 'whole at the end' | 'cut'
  /** The code of what was thrown. */
  readonly refused: unknown
}

export function read(pieces: Iterable<Buffer>, { method = 'GET', upgrade = false }: Request = {}): Told {
  const interims: string[] = []
  const heads: ReturnType<typeof parseHead>[] = []
  let body = ''
  let consumed = 0
  let refused: unknown
  const reader = new ResponseReader({
    interim: (status, fields) => interims.push(`${status} ${fields.flat().join(' ')}`),
    head: head => heads.push(head),
    data: chunk => {
      assert.ok(chunk.length > 0, 'an empty piece of a body')
      assert.equal(heads.length, 1, 'a body without its head')
      body += chunk.toString('latin1')
    },
  })
  reader.expect(method, upgrade)
  try {
    for (const piece of pieces) {
      consumed += reader.read(piece)
      if (reader.idle) break
    }
  } catch (error) {
    refused = (error as NodeJS.ErrnoException).code
  }
  assert.ok(heads.length <= 1, 'two final heads')
  const ended = reader.idle && refused === undefined ? 'by itself' : reader.finish() ? 'whole at the end' : 'cut'
  const [head] = heads
  return {
    interims,
    status: head?.status,
    statusText: head?.statusText,
    headers: head?.fields.flat(),
    body,
    trailers: reader.trailers,
    consumed,
    ended,
    refused,
  }
}

/** Fresh memory for each: a reader that looked beyond its piece would find nothing of the message there. */
export function piece(bytes: Buffer, from: number, to: number): Buffer {
  return Buffer.from(bytes.subarray(from, to))
}

export function* byteByByte(bytes: Buffer): Generator<Buffer> {
  for (let i = 0; i < bytes.length; i++) yield piece(bytes, i, i + 1)
}
