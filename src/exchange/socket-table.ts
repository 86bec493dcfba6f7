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
export const TIME_WAIT = '06'

export const SOCKET_TABLES = ['/proc/self/net/tcp', '/proc/self/net/tcp6']
const LEAST_INTERVAL_MS = 20
/** An interval is at least so many times the cost of a read. */
const COST_FACTOR = 20
/** A busy machine makes a read look dear; a client that left is to be noticed within 2 s all the same. */
const MOST_INTERVAL_MS = 500

export class SocketTable {
  #rows: ReadonlyMap<string, SocketRow> = new Map()
  /** When the latest read began, monotonic ms; -1: never. */
  #readAt = -Infinity
  #intervalMs = LEAST_INTERVAL_MS
  #costMs = 5
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

  /** What a read takes, ms: how long before an answer is due it has to be asked for. */
  get costMs(): number {
    return this.#costMs
  }

  /** Reads the table anew, unless that was done just now; `urgent`: unless that is being done. Never rejects. */
  refresh(urgent = false): Promise<void> {
    const recent = performance.now() - this.#readAt < (urgent ? LEAST_INTERVAL_MS : this.#intervalMs)
    if (!this.available || recent) return Promise.resolve()
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<void> {
    const began = performance.now()
    try {
      const tables = await Promise.all(SOCKET_TABLES.map(file => readFile(file, 'latin1').catch(() => '')))
      if (tables.every(text => text === '')) {
        // A hardened container without /proc: the timeouts bound every wait all the same.
        this.available = false
        return
      }
      const parseFrom = performance.now()
      const rows = new Map<string, SocketRow>()
      tables.forEach((text, six) => {
        parse(text, six === 1 ? 32 : 8, rows)
      })
      this.#rows = rows
      this.#readAt = began
      // Reading happens in the thread pool; parsing holds the loop, so it weighs double.
      const done = performance.now()
      this.#costMs = done - began
      const loadMs = (this.#costMs + (done - parseFrom)) * COST_FACTOR
      this.#intervalMs = Math.min(MOST_INTERVAL_MS, Math.max(LEAST_INTERVAL_MS, loadMs))
    } catch {
      this.#readAt = began
    }
  }
}

export interface TableRow {
  readonly localPort: number
  /** As the kernel writes it: for `fromTable`. */
  readonly localHex: string
  /** The hexadecimal of its bytes (`7f000001`); of an IPv4-mapped address that of the IPv4 address. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** As in `SocketRow`. */
  readonly state: string
  /** Written and not acknowledged, bytes. */
  readonly unacknowledged: number
  /** Received and not read, bytes; of a LISTEN row: connections that wait to be accepted (tcp_ipv4.c, get_tcp4_sock). */
  readonly unread: number
}

/**
 * `  12: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 ...`, the format of /proc/net/tcp (proc(5)).
 * @param width hexadecimal digits of an address: 8, in tcp6 32
 * @returns undefined for the title line, and for what is cut off
 */
export function readRow(line: string, width: number): TableRow | undefined {
  const local = line.indexOf(': ') + 2
  if (local === 1) return undefined
  const remote = local + width + 6
  const hex = (from: number, digits: number): number => Number.parseInt(line.slice(from, from + digits), 16)
  const remotePort = hex(remote + width + 1, 4)
  const unread = hex(remote + width + 18, 8)
  if (Number.isNaN(remotePort) || Number.isNaN(unread)) return undefined
  return {
    localPort: hex(local + width + 1, 4),
    localHex: line.slice(local, local + width),
    remoteAddress: fromTable(line.slice(remote, remote + width)),
    remotePort,
    state: line.slice(remote + width + 6, remote + width + 8),
    unacknowledged: hex(remote + width + 9, 8),
    unread,
  }
}

function stateIn(line: string, width: number): string {
  const state = line.indexOf(': ') + 2 * width + 14
  return line.slice(state, state + 2)
}

function parse(text: string, width: number, rows: Map<string, SocketRow>): void {
  for (const line of text.split('\n')) {
    // Most rows of a busy gateway; nobody here has a socket in that state.
    if (stateIn(line, width) === TIME_WAIT) continue
    const row = readRow(line, width)
    if (row !== undefined) rows.set(nameIn(row), row)
  }
}

/** As `nameOf` calls the same connection. */
export function nameIn(row: TableRow): string {
  return `${row.localPort}<${row.remoteAddress}:${row.remotePort}`
}

/** What a connection is called here: its local port and its remote end. */
export function nameOf(socket: Socket): string {
  return `${socket.localPort}<${addressBytes(socket.remoteAddress ?? '')}:${socket.remotePort}`
}

/** The table writes an address as 32-bit words in the machine's byte order: little-endian wherever Node runs. */
export function fromTable(hex: string): string {
  const bytes = hex.replace(/(..)(..)(..)(..)/g, '$4$3$2$1').toLowerCase()
  return bytes.startsWith('00000000000000000000ffff') ? bytes.slice(24) : bytes
}

/** An address as the hexadecimal of its bytes. */
export function addressBytes(text: string): string {
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
