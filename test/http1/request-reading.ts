/** A reader of requests, and all that it tells of what comes on one connection. */
import assert from 'node:assert/strict'
import type { NotHttp } from '../../src/http1/fields.ts'
import type { ClientHead } from '../../src/http1/request-head.ts'
import { RequestReader } from '../../src/http1/request-reader.ts'

/** Bytes of a head. */
export const MOST = 16 * 1024

export interface Message extends Omit<ClientHead, 'fields'> {
  /** Flat, name and value in turn. */
  headers: readonly string[]
  body: string
  trailers: readonly string[]
  /** Where `read` has returned behind the head, and behind all of the message; -1: not yet. */
  headEnd: number
  end: number
}

/** All that a reader has told, however it came. */
export interface Told {
  /** The whole ones, where one behind them was refused. */
  readonly messages: readonly Message[]
  /** Code and status. */
  readonly refused?: readonly unknown[]
}

export function read(pieces: Iterable<Buffer>): Told {
  const messages: Message[] = []
  const last = (): Message => messages.at(-1) as Message
  let bodyEnds = 0
  const reader = new RequestReader(
    {
      head: ({ fields, ...head }) =>
        messages.push({ ...head, headers: fields.flat(), body: '', trailers: [], headEnd: -1, end: -1 }),
      data: chunk => {
        assert.ok(chunk.length > 0 && last().end === -1, 'a piece of no body')
        last().body += chunk.toString('latin1')
      },
      bodyEnd: trailers => {
        last().trailers = trailers
        bodyEnds++
      },
    },
    MOST,
  )
  let before = 0
  try {
    for (const bytes of pieces) {
      for (let at = 0; at < bytes.length; ) {
        const next = reader.read(bytes, at)
        assert.ok(next > at && next <= bytes.length, `from ${at} to ${next} of ${bytes.length}`)
        at = next
        if (messages.length === 0) continue
        if (last().headEnd === -1) last().headEnd = before + at
        if (last().end === -1 && !reader.inBody) last().end = before + at
      }
      before += bytes.length
    }
  } catch (error) {
    const { code, status } = error as NotHttp
    return { messages: messages.filter(({ end }) => end !== -1), refused: [code, status] }
  }
  assert.equal(bodyEnds, messages.filter(({ hasBody, end }) => hasBody && end !== -1).length, 'bodies that end')
  assert.equal(reader.inBody, messages.at(-1)?.end === -1)
  return { messages }
}
