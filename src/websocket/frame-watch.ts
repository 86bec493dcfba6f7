/**
 * Reads the close code off a stream of WebSocket frames that only passes by (RFC 6455 section 5.2): headers are looked at,
 * payloads skipped, nothing is kept. Control frames are never compressed (RFC 7692 section 5), so this works whatever
 * extensions the two ends have agreed on. What is no WebSocket is no error: the watch then simply sees nothing.
 */

/** FIN, no extension's bit, opcode 8: a close frame is never fragmented (section 5.5). */
const CLOSE = 0x88
/** Header 2, extended length 8, mask 4. */
const LONGEST_HEADER = 14

/** RFC 6455 section 7.1.5: a close frame without a code. */
export const NO_CODE = 1005
/** The connection ended without a close frame. */
export const NO_CLOSE_FRAME = 1006

export class FrameWatch {
  /** Of the first close frame; undefined: none has passed. */
  closeCode: number | undefined
  readonly #header = Buffer.alloc(LONGEST_HEADER)
  /** Bytes of the present frame's header that have come, and how many it has as far as is known. */
  #have = 0
  #need = 2
  /** Payload bytes of the present frame that are still to come. */
  #left = 0
  /** The two bytes of a close code. */
  #codeBytes = 0
  #code = 0
  #inClose = false

  feed(chunk: Buffer): void {
    if (this.closeCode !== undefined) return
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        if (this.#inClose) {
          this.#closeByte(chunk[at] as number)
          if (this.closeCode !== undefined) return
          at++
          this.#left--
        } else {
          const skipped = Math.min(this.#left, chunk.length - at)
          at += skipped
          this.#left -= skipped
        }
        continue
      }
      this.#header[this.#have++] = chunk[at++] as number
      if (this.#have === 2) this.#need = headerLength(this.#header)
      if (this.#have < this.#need) continue
      this.#frame()
      if (this.closeCode !== undefined) return
    }
  }

  /** A header is complete. */
  #frame(): void {
    const length = (this.#header[1] as number) & 0x7f
    this.#left =
      length < 126
        ? length
        : length === 126
          ? this.#header.readUInt16BE(2)
          : this.#header.readUInt32BE(2) * 2 ** 32 + this.#header.readUInt32BE(6)
    this.#inClose = this.#header[0] === CLOSE
    if (this.#inClose && this.#left < 2) this.closeCode = NO_CODE
    this.#codeBytes = 0
    this.#code = 0
    this.#have = 0
    this.#need = 2
  }

  #closeByte(byte: number): void {
    const masked = ((this.#header[1] as number) & 0x80) !== 0
    // The header is still there: it is overwritten by the next frame's only.
    const mask = masked ? (this.#header[headerLength(this.#header) - 4 + this.#codeBytes] as number) : 0
    this.#code = this.#code * 256 + (byte ^ mask)
    if (++this.#codeBytes === 2) this.closeCode = this.#code
  }
}

function headerLength(header: Buffer): number {
  const second = header[1] as number
  const length = second & 0x7f
  return 2 + (length === 127 ? 8 : length === 126 ? 2 : 0) + ((second & 0x80) === 0 ? 0 : 4)
}
