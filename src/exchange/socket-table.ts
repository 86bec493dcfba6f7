/**
 * What the kernel knows of our connections and Node does not tell: their state, and the bytes the peer has not
 * acknowledged. Read from /proc/self/net/tcp, all callers together, and never more of the time than 5 % of a core
 * (a read costs 5 ms for a small table). Linux only: elsewhere nothing is ever found.
 */
import { readFile } from 'node:fs/promises'
import { isIPv6, type Socket } from 'node:net'
import { plainAddress } from './peer.ts'

export interface SocketRow {
  /** include/net/tcp_states.h, two hexadecimal digits: `01` is ESTABLISHED. */
  readonly state: string
  /** Bytes written that the peer has not acknowledged. */
  readonly unacknowledged: number
}

/** The peer has sent its FIN, and our side has not. */
export const CLOSE_WAIT = '08'

const FILES = ['/proc/self/net/tcp', '/proc/self/net/tcp6']
const LEAST_INTERVAL_MS = 20
/** An interval is at least so many times the cost of a read. */
const COST_FACTOR = 20

export class SocketTable {
  #rows: ReadonlyMap<string, SocketRow> = new Map()
  /** When the latest read began, monotonic ms; -1: never. */
  #readAt = -Infinity
  #intervalMs = LEAST_INTERVAL_MS
  #reading: Promise<void> | undefined

  /** False where there is no table to be had. */
  available = process.platform === 'linux'

  /** When the rows that `row` answers from were read, monotonic ms. */
  get readAt(): number {
    return this.#readAt
  }

  /** The row of `socket` as of `readAt`; undefined where the kernel listed none. */
  row(socket: Socket): SocketRow | undefined {
    return this.#rows.get(nameOf(socket))
  }

  /** Reads the table anew, unless that was done just now. Never rejects. */
  refresh(): Promise<void> {
    if (!this.available || performance.now() - this.#readAt < this.#intervalMs) return Promise.resolve()
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<void> {
    const began = performance.now()
    try {
      const tables = await Promise.all(FILES.map(file => readFile(file, 'latin1').catch(() => '')))
      if (tables.every(text => text === '')) {
        // A hardened container without /proc: the timeouts bound every wait all the same.
        this.available = false
        return
      }
      const parseFrom = performance.now()
      const rows = new Map<string, SocketRow>()
      for (const text of tables) parse(text, rows)
      this.#rows = rows
      this.#readAt = began
      // Reading happens in the thread pool; parsing holds the loop, so it weighs double.
      const done = performance.now()
      this.#intervalMs = Math.max(LEAST_INTERVAL_MS, (done - began + (done - parseFrom)) * COST_FACTOR)
    } catch {
      this.#readAt = began
    }
  }
}

function parse(text: string, rows: Map<string, SocketRow>): void {
  for (const line of text.split('\n')) {
    const [, local, remote, state, queues] = line.trim().split(/\s+/, 5)
    if (local === undefined || remote === undefined || state === undefined || queues === undefined) continue
    const [address, port] = remote.split(':')
    if (address === undefined || port === undefined) continue
    const localPort = Number.parseInt(local.slice(local.indexOf(':') + 1), 16)
    rows.set(`${localPort}<${fromTable(address)}:${Number.parseInt(port, 16)}`, {
      state,
      unacknowledged: Number.parseInt(queues, 16),
    })
  }
}

function nameOf(socket: Socket): string {
  return `${socket.localPort}<${addressBytes(socket.remoteAddress ?? '')}:${socket.remotePort}`
}

/** The table writes an address as 32-bit words in the machine's byte order: little-endian wherever Node runs. */
function fromTable(hex: string): string {
  const bytes = hex.replace(/(..)(..)(..)(..)/g, '$4$3$2$1').toLowerCase()
  return bytes.startsWith('00000000000000000000ffff') ? bytes.slice(24) : bytes
}

/** An address as the hexadecimal of its bytes. */
function addressBytes(text: string): string {
  const address = plainAddress(text)
  if (!isIPv6(address)) {
    return address
      .split('.')
      .map(byte => Number(byte).toString(16).padStart(2, '0'))
      .join('')
  }
  // URL writes an IPv6 address in its one canonical form (WHATWG URL, section 3.6), without dotted quads.
  const [head = '', tail] = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1).split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : new Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...zeros, ...right].map(group => group.padStart(4, '0')).join('')
}
