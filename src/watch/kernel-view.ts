/**
 * The kernel's own view of the gateway: the accept queue, our sockets by state, descriptors, ports. In the incidents it
 * was the kernel that knew, and nobody asked it. Read from /proc of the own network namespace when metrics are scraped,
 * at most every 5 s, and every 15 s where nobody scrapes; never more than 1 % of the time, and not at all where the
 * table is very large. Linux only.
 */
import { isIP } from 'node:net'
import { addressBytes, fromTable, nameIn, SOCKET_TABLES, type TableRow } from '../exchange/socket-table.ts'
import {
  type KernelCounts,
  type KernelReading,
  LISTENER_SIDE,
  SOCKET_STATES,
  type SocketCounts,
  type SocketState,
} from '../observe/kernel-metrics.ts'
import { descriptors, eachRow, listenCounters, numbersIn, socketsInUse } from './proc.ts'

const LEAST_INTERVAL_MS = 5000
/** Without a scrape: often enough for a CLOSE_WAIT that stays to be logged within its deadline and this. */
const BACKGROUND_MS = 15_000
/** An interval is at least so many times what the last reading held the event loop; the kernel's part is half as much. */
const COST_FACTOR = 200
/** Above it the table is left out. 18 600 rows took 83 ms of CPU, the event loop never held for more than 5 ms of it. */
const MOST_ROWS = 20_000
/** Addresses remembered of one upstream, whose sockets outlive their connection in TIME_WAIT. */
const MOST_ADDRESSES = 64

const CLOSE_WAIT = SOCKET_STATES.indexOf('close_wait')
const LISTEN = SOCKET_STATES.indexOf('listen')

/** `0.0.0.0` and `::` as `addressBytes` has them: a listener there has every address. */
const EVERY_ADDRESS = /^0*$/

/** An upstream as far as the kernel can know it. */
export interface ViewedUpstream {
  readonly name: string
  readonly endpoints: readonly { readonly hostname: string; readonly port: number }[]
  /** The far ends of its connections that are open now. */
  remotes(): Iterable<{ readonly address: string; readonly port: number }>
}

export interface KernelViewOptions {
  /** Where clients connect; undefined while nobody listens. */
  readonly listener: () => { readonly address: string; readonly port: number } | undefined
  /** As configured. */
  readonly backlog: number
  readonly upstreams: readonly ViewedUpstream[]
  /** Called after each reading of the table, with the sockets of ours that are in CLOSE_WAIT. */
  readonly closeWait: (found: readonly InCloseWait[], at: number) => void
  /** For tests, ms: whatever a look costs. */
  readonly intervalMs?: number
  /** For tests. */
  readonly mostRows?: number
}

export interface InCloseWait {
  readonly side: string
  /** As `nameOf` calls the socket. */
  readonly name: string
}

export class KernelView implements KernelCounts {
  reading: KernelReading | undefined
  skipped = 0
  readonly acceptQueueLimit: number | undefined
  readonly ephemeralPorts: number | undefined
  /** False where there is no table to be had. */
  readonly available: boolean
  readonly #options: KernelViewOptions
  /** Upstreams by the address of an endpoint, `7f000001:3001`. */
  readonly #sides = new Map<string, Set<string>>()
  /** Monotonic ms. */
  #readAt = -Infinity
  #intervalMs: number
  #reading: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: KernelViewOptions) {
    this.#options = options
    this.#intervalMs = options.intervalMs ?? LEAST_INTERVAL_MS
    const [most] = numbersIn('/proc/sys/net/core/somaxconn') ?? []
    this.available = most !== undefined
    this.acceptQueueLimit = most === undefined ? undefined : Math.min(options.backlog, most)
    const [first, last] = numbersIn('/proc/sys/net/ipv4/ip_local_port_range') ?? []
    this.ephemeralPorts = first === undefined || last === undefined ? undefined : last - first + 1
    for (const { name, endpoints } of options.upstreams) {
      for (const { hostname, port } of endpoints) if (isIP(hostname) !== 0) this.#remember(name, hostname, port)
    }
  }

  start(): void {
    if (!this.available) return
    this.#timer = setInterval(() => {
      if (performance.now() - this.#readAt >= BACKGROUND_MS) void this.refresh()
    }, LEAST_INTERVAL_MS).unref()
    // The first scrape reads at once; without one the timer does, after two of its ticks.
    this.#readAt = performance.now() - LEAST_INTERVAL_MS
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Reads anew, unless that was done in the last 5 s. Never rejects. */
  refresh(): Promise<void> {
    if (!this.available || performance.now() - this.#readAt < this.#intervalMs) return Promise.resolve()
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<void> {
    this.#readAt = performance.now()
    const [sockets, listen, fds] = await Promise.all([this.#sockets(), listenCounters(), descriptors()])
    this.reading = { sockets, listen, descriptors: fds }
  }

  async #sockets(): Promise<SocketCounts | null> {
    const rows = await socketsInUse()
    if (rows === null || rows > (this.#options.mostRows ?? MOST_ROWS)) {
      if (rows !== null) this.skipped++
      return null
    }
    for (const { name, remotes } of this.#options.upstreams) {
      for (const { address, port } of remotes()) this.#remember(name, address, port)
    }
    const count = new Count(this.#options, this.#sides)
    try {
      let held = 0
      for (const [six, path] of SOCKET_TABLES.entries()) {
        // Without IPv6 there is no tcp6.
        const skip = (error: NodeJS.ErrnoException): number => {
          if (error.code === 'ENOENT') return 0
          throw error
        }
        held += await eachRow(path, six === 1 ? 32 : 8, row => count.add(row)).catch(skip)
      }
      this.#intervalMs = this.#options.intervalMs ?? Math.max(LEAST_INTERVAL_MS, held * COST_FACTOR)
    } catch {
      // No descriptor left, say: what was read is no count.
      return null
    }
    this.#options.closeWait(count.closeWait, performance.now())
    return count
  }

  #remember(upstream: string, address: string, port: number): void {
    const key = `${addressBytes(address)}:${port}`
    const names = this.#sides.get(key)
    if (names !== undefined) names.add(upstream)
    else if (this.#sides.size < MOST_ADDRESSES * this.#options.upstreams.length) {
      this.#sides.set(key, new Set([upstream]))
    }
  }
}

/** What is counted in one pass over the table. */
class Count implements SocketCounts {
  readonly sides = new Map<string, Map<SocketState, number>>()
  readonly ephemeral = new Map<string, number>()
  readonly closeWait: InCloseWait[] = []
  acceptQueue: number | null = null
  readonly #upstreamsAt: ReadonlyMap<string, ReadonlySet<string>>
  readonly #towards = new Map<string, number>()
  readonly #port: number
  /** Empty while nobody listens. */
  readonly #address: string
  readonly #everywhere: boolean

  constructor({ listener, upstreams }: KernelViewOptions, upstreamsAt: ReadonlyMap<string, ReadonlySet<string>>) {
    const { address, port } = listener() ?? { address: '', port: -1 }
    this.#address = address === '' ? '' : addressBytes(address)
    this.#everywhere = EVERY_ADDRESS.test(this.#address)
    this.#port = port
    this.#upstreamsAt = upstreamsAt
    for (const side of [LISTENER_SIDE, ...upstreams.map(({ name }) => name)]) this.sides.set(side, new Map())
    for (const { name } of upstreams) this.ephemeral.set(name, 0)
  }

  add(row: TableRow): void {
    const state = Number.parseInt(row.state, 16)
    if (row.localPort === this.#port) {
      // The same port at another address is somebody else's: a listener, or a connection that left from it.
      const local = fromTable(row.localHex)
      if (state === LISTEN) {
        if (local === this.#address) this.acceptQueue = row.unread
        return
      }
      if (this.#everywhere || local === this.#address) {
        this.#one(LISTENER_SIDE, state, row)
        return
      }
    }
    const end = `${row.remoteAddress}:${row.remotePort}`
    const upstreams = this.#upstreamsAt.get(end)
    if (upstreams === undefined) return
    const towards = (this.#towards.get(end) ?? 0) + 1
    this.#towards.set(end, towards)
    for (const upstream of upstreams) {
      this.#one(upstream, state, row)
      if (towards > (this.ephemeral.get(upstream) ?? 0)) this.ephemeral.set(upstream, towards)
    }
  }

  #one(side: string, state: number, row: TableRow): void {
    const states = this.sides.get(side)
    const word = SOCKET_STATES[state] ?? ''
    states?.set(word, (states.get(word) ?? 0) + 1)
    if (state === CLOSE_WAIT) this.closeWait.push({ side, name: nameIn(row) })
  }
}
