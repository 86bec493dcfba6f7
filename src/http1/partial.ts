/** What is here of a head, a chunk's line or a trailer section that is not here whole. */
export class Partial {
  #bytes: Buffer | undefined
  length = 0

  get bytes(): Buffer {
    return this.#bytes as Buffer
  }

  add(bytes: Buffer, from: number, end: number): void {
    const needed = this.length + (end - from)
    if (this.#bytes === undefined || this.#bytes.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(256, needed * 2))
      this.#bytes?.copy(larger, 0, 0, this.length)
      this.#bytes = larger
    }
    bytes.copy(this.#bytes, this.length, from, end)
    this.length = needed
  }

  text(from: number, end: number): string {
    return this.bytes.toString('latin1', from, end)
  }

  forget(): void {
    this.#bytes = undefined
    this.length = 0
  }
}
