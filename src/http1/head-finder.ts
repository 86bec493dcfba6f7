/** Finds heads among bytes that come in pieces: up to the empty line (RFC 9112 section 2.1). */
import { CR, LF, type NotHttp, notHttp } from './fields.ts'
import { Partial } from './partial.ts'

const END_OF_HEAD_BYTES = 4

export interface HeadLimits {
  readonly mostBytes: number
  /** @param begun what is here of a head that is longer than may be, in latin1 */
  tooLong(begun: string): NotHttp
  /**
   * What a head begins with is here, and not yet all of it: nobody should wait for the rest of what is none.
   * @throws where it cannot become a head
   */
  check(begun: string): void
}

/** As much of a head as tells whether it can become one. */
const BEGINS_BYTES = 128

export class HeadFinder {
  /** Where the bytes go on behind the head that was found. */
  next = 0
  readonly #limits: HeadLimits
  readonly #partial = new Partial()

  constructor(limits: HeadLimits) {
    this.#limits = limits
  }

  /** Part of a head is here. */
  get begun(): boolean {
    return this.#partial.length > 0
  }

  /**
   * @returns the head, in latin1, up to the CRLF of its last line; undefined: it is not here whole, all of `bytes` was taken
   * @throws an error with the code `NOT_HTTP`
   */
  find(bytes: Buffer, from: number): string | undefined {
    const partial = this.#partial
    const { mostBytes } = this.#limits
    if (partial.length === 0) {
      const end = endOfHead(bytes, from, bytes.length)
      if (end === -1) {
        partial.add(bytes, from, bytes.length)
        this.#checkPartial(0)
        return undefined
      }
      if (end - from > mostBytes) throw this.#limits.tooLong(bytes.toString('latin1', from, from + mostBytes))
      this.next = end + END_OF_HEAD_BYTES
      return bytes.toString('latin1', from, end + 2)
    }
    const before = partial.length
    partial.add(bytes, from, Math.min(bytes.length, from + mostBytes + END_OF_HEAD_BYTES))
    // Its end may have begun in what was here before.
    const end = endOfHead(partial.bytes, Math.max(0, before - 3), partial.length)
    if (end === -1) {
      this.#checkPartial(before)
      return undefined
    }
    if (end > mostBytes) throw this.#limits.tooLong(partial.text(0, mostBytes))
    const text = partial.text(0, end + 2)
    this.next = from + end + END_OF_HEAD_BYTES - before
    partial.forget()
    return text
  }

  forget(): void {
    this.#partial.forget()
  }

  /** @param from what came before was looked at before */
  #checkPartial(from: number): void {
    const partial = this.#partial
    const { length, bytes } = partial
    const { mostBytes } = this.#limits
    this.#limits.check(partial.text(0, Math.min(BEGINS_BYTES, length)))
    for (let i = from; i < Math.min(length, mostBytes); i++) {
      if (bytes[i] === LF ? bytes[i - 1] !== CR : bytes[i - 1] === CR) throw notHttp('a line that does not end in CRLF')
    }
    // All but the last byte of its end may be here, and do not count.
    if (length >= mostBytes + END_OF_HEAD_BYTES) throw this.#limits.tooLong(partial.text(0, mostBytes))
  }
}

/**
 * Where the first CRLF CRLF begins, or -1. Three of four bytes are not looked at (Horspool, 1980): it takes less time than the
 * call of `Buffer.indexOf` alone.
 */
export function endOfHead(bytes: Buffer, from: number, end: number): number {
  let last = from + 3
  while (last < end) {
    const byte = bytes[last]
    if (byte === LF) {
      if (bytes[last - 1] === CR && bytes[last - 2] === LF && bytes[last - 3] === CR) return last - 3
      last += 2
    } else last += byte === CR ? 1 : 4
  }
  return -1
}
