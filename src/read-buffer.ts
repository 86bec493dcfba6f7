/**
 * What requests and responses are read into. Left to itself, Node makes a buffer of 64 KB for every read; V8 counts them as external
 * memory and collects garbage because of them: half of what a response of 256 KB cost (docs/benchmarks.md).
 */

/** One for all connections, as a read is over before the next begins: as long as most heads with a small body. */
const shared = Buffer.allocUnsafeSlow(16 * 1024)
/** For bodies that fill the shared one: no read brings more. */
export const LARGE_BYTES = 256 * 1024
/** Of those that nobody reads into now: 8.5 MiB. */
const MOST_SPARE = 32
/** Smaller ones are pieces of Node's own pool. */
const NODE_POOLS_BYTES = 4096

/** What a socket asks for and tells that reads into these: the `onread` of `net.connect`. */
export interface OnRead {
  /** What the next read goes into. */
  buffer(): Uint8Array
  /** @returns false where the socket should be read no more for now */
  callback(length: number, buffer: Uint8Array): boolean
}

/** The beginnings of the shared one, by their length: most reads are short, and a view costs as much as a small copy. */
const beginnings: (Buffer | undefined)[] = new Array(2048).fill(undefined)

const spare: Buffer[] = []
/** As long as the shared one, for copies of its pieces. */
const spareSmall: Buffer[] = []

/** What a read has brought: the first bytes of what it was read into. */
export function bytesOf(buffer: Uint8Array, length: number): Buffer {
  if (buffer !== shared || length >= beginnings.length) return (buffer as Buffer).subarray(0, length)
  let bytes = beginnings[length]
  if (bytes === undefined) {
    bytes = shared.subarray(0, length)
    beginnings[length] = bytes
  }
  return bytes
}

/** The buffer that one connection will read into next. */
export class ReadBuffer {
  #large: Buffer | undefined
  #lastRead = 0

  /**
   * Where so much came at once, more will; a stream that trickles shares, and holds nothing while it is silent.
   * @param more a body goes on, and its reader takes it
   */
  next(more: boolean): Buffer {
    if (!more || this.#lastRead < shared.length) return shared
    this.#large = spare.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
    return this.#large
  }

  /**
   * @param read bytes; 0: the connection reads no more
   * @returns the large buffer that they are in, now the caller's; undefined: it is the shared one
   */
  take(read: number): Buffer | undefined {
    this.#lastRead = read
    const taken = this.#large
    this.#large = undefined
    return taken
  }
}

/** Nobody needs what is in it any more. One that is not given back is the garbage collector's. */
export function giveBack(buffer: Buffer): void {
  const list = buffer.length === LARGE_BYTES ? spare : spareSmall
  if (list.length < MOST_SPARE) list.push(buffer)
}

/**
 * What may be kept longer than the read that brought it: a piece of the shared buffer is copied.
 * @param inUse gets what is to be given back later
 */
export function lasting(chunk: Buffer, inUse: Buffer[]): Buffer {
  if (chunk.buffer !== shared.buffer) return chunk
  if (chunk.length < NODE_POOLS_BYTES) return Buffer.from(chunk)
  const copy = spareSmall.pop() ?? Buffer.allocUnsafeSlow(shared.length)
  inUse.push(copy)
  chunk.copy(copy)
  return copy.subarray(0, chunk.length)
}
