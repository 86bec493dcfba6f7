/**
 * The lines that wait for the log's destination, as bytes, in order, within a bound.
 *
 * Bytes and not strings: the bound is then what it says, and a line is copied once. Chunks and not one ring: an idle
 * gateway holds one chunk, and only a stalled one grows to the bound.
 */

/** Access lines are many and alike; an event tells what happens to the gateway itself. */
export type LineClass = 'access' | 'event'

/** A line that is written as bytes where it is to lie. */
export interface Line {
  /** What it takes at most. */
  readonly mostBytes: number
  /** @returns where it ends */
  writeTo(bytes: Buffer, at: number): number
  toString(): string
}

const CHUNK_BYTES = 64 * 1024

/** Lines are never split between chunks. */
interface Chunk {
  readonly bytes: Buffer
  /** The bytes from `start` to `end` wait. */
  start: number
  end: number
  /** Where each line ends (the offset after its newline); negative for an event's. */
  readonly lineEnds: number[]
  /** Index in `lineEnds` of the line that `start` is in. */
  line: number
}

export class LineBuffer {
  /** Lines whose last byte was consumed, and lines given up, each by class. */
  readonly written: Record<LineClass, number> = { access: 0, event: 0 }
  readonly dropped: Record<LineClass, number> = { access: 0, event: 0 }
  readonly #limitBytes: number
  readonly #accessLimitBytes: number
  readonly #chunkBytes: number
  readonly #chunks: Chunk[] = []
  #bytes = 0
  /** What is bounded: the memory, with what is left over at the ends of chunks. */
  #allocatedBytes = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
    // Under pressure access lines go first: the last eighth is the events'.
    this.#accessLimitBytes = limitBytes - Math.floor(limitBytes / 8)
    this.#chunkBytes = Math.min(CHUNK_BYTES, Math.max(1, Math.floor(limitBytes / 8)))
  }

  /** Waiting to be written. */
  get bytes(): number {
    return this.#bytes
  }

  /** A line with its newline; false, and counted as dropped, where there is no room. */
  push(line: string, lineClass: LineClass): boolean {
    const limitBytes = this.#limitOf(lineClass)
    const chunk = this.#allocatedBytes > limitBytes ? undefined : this.#chunkFor(line, limitBytes)
    if (chunk === undefined) return this.#refused(lineClass)
    this.#ends(chunk, chunk.end + chunk.bytes.write(line, chunk.end), lineClass)
    return true
  }

  /** The same, without a text in between where there surely is room. */
  pushLine(line: Line, lineClass: LineClass): boolean {
    if (this.#allocatedBytes > this.#limitOf(lineClass)) return this.#refused(lineClass)
    const chunk = this.#chunks.at(-1)
    if (chunk === undefined || chunk.bytes.length - chunk.end < line.mostBytes)
      return this.push(String(line), lineClass)
    this.#ends(chunk, line.writeTo(chunk.bytes, chunk.end), lineClass)
    return true
  }

  #limitOf(lineClass: LineClass): number {
    return lineClass === 'access' ? this.#accessLimitBytes : this.#limitBytes
  }

  #refused(lineClass: LineClass): false {
    this.dropped[lineClass] += 1
    return false
  }

  #ends(chunk: Chunk, end: number, lineClass: LineClass): void {
    this.#bytes += end - chunk.end
    chunk.end = end
    chunk.lineEnds.push(lineClass === 'event' ? -end : end)
  }

  /** The next bytes to write: whole lines up to `maxBytes`, or one longer line, or the rest of one that was begun. */
  peek(maxBytes: number): Buffer | undefined {
    const chunk = this.#chunks[0]
    if (chunk === undefined || chunk.start === chunk.end) return undefined
    const target = chunk.start + maxBytes
    let end = chunk.end
    if (end > target) {
      end = 0
      for (let index = chunk.line; index < chunk.lineEnds.length; index++) {
        const lineEnd = Math.abs(chunk.lineEnds[index] ?? 0)
        if (lineEnd > target && end > 0) break
        end = lineEnd
        if (lineEnd > target) break
      }
    }
    return chunk.bytes.subarray(chunk.start, end)
  }

  /** The first `count` of the peeked bytes were taken by the destination. */
  consume(count: number): void {
    this.#advance(count, this.written)
  }

  /** Gives up the rest of a line whose beginning went to a destination that is no more. */
  dropPartial(): void {
    const chunk = this.#chunks[0]
    if (chunk === undefined) return
    const begins = chunk.line === 0 ? 0 : Math.abs(chunk.lineEnds[chunk.line - 1] ?? 0)
    if (chunk.start > begins)
      this.#advance(Math.abs(chunk.lineEnds[chunk.line] ?? chunk.end) - chunk.start, this.dropped)
  }

  /** Gives up everything; returns how many lines that was. */
  dropAll(): number {
    const before = this.dropped.access + this.dropped.event
    while (this.#bytes > 0) {
      const chunk = this.#chunks[0]
      if (chunk === undefined) break
      this.#advance(chunk.end - chunk.start, this.dropped)
    }
    return this.dropped.access + this.dropped.event - before
  }

  #chunkFor(line: string, limitBytes: number): Chunk | undefined {
    const last = this.#chunks.at(-1)
    const space = last === undefined ? 0 : last.bytes.length - last.end
    // A UTF-16 unit takes 1 to 3 bytes of UTF-8: they are counted only where the guess is too tight.
    if (last !== undefined && (space >= line.length * 3 || space >= Buffer.byteLength(line))) return last
    if (last !== undefined && last.end === 0) {
      // Empty, and yet too small. Left in place it would hide what comes behind it.
      this.#chunks.pop()
      this.#allocatedBytes -= last.bytes.length
    }
    const size = Math.max(this.#chunkBytes, Buffer.byteLength(line))
    if (this.#allocatedBytes + size > limitBytes) return undefined
    const chunk: Chunk = { bytes: Buffer.allocUnsafeSlow(size), start: 0, end: 0, lineEnds: [], line: 0 }
    this.#chunks.push(chunk)
    this.#allocatedBytes += size
    return chunk
  }

  #advance(count: number, tally: Record<LineClass, number>): void {
    const chunk = this.#chunks[0]
    if (chunk === undefined) return
    chunk.start += count
    this.#bytes -= count
    for (; chunk.line < chunk.lineEnds.length; chunk.line++) {
      const lineEnd = chunk.lineEnds[chunk.line] ?? 0
      if (Math.abs(lineEnd) > chunk.start) break
      tally[lineEnd < 0 ? 'event' : 'access'] += 1
    }
    if (chunk.start < chunk.end) return
    if (this.#chunks.length > 1 || chunk.bytes.length > this.#chunkBytes) {
      this.#chunks.shift()
      this.#allocatedBytes -= chunk.bytes.length
    } else {
      chunk.start = chunk.end = chunk.line = chunk.lineEnds.length = 0
    }
  }
}
