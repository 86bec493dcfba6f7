/**
 * Notices clients that leave while nobody reads from them. Node sees a FIN or a RST only when it reads, and an upload
 * that waits for a slot or for a slow upstream is not read: such connections become CLOSE_WAIT corpses (3.5 s unseen
 * with 200 KB unread, measured). The kernel's socket table knows: CLOSE_WAIT after a FIN, no row at all after a RST.
 * Read every 750 ms, and only while an exchange is in that position. Linux only; elsewhere `queue` and `request_write`
 * bound the wait.
 */
import { readFile } from 'node:fs/promises'
import { isIPv6, type Socket } from 'node:net'
import { plainAddress } from './peer.ts'

const INTERVAL_MS = 750
/** The state column of /proc/net/tcp; include/net/tcp_states.h */
const CLOSE_WAIT = '08'

export interface Watched {
  readonly socket: Socket
  /** Called once: the client at the other end of `socket` is gone. */
  vanished(): void
}

export class Vanished {
  readonly #watched = new Set<Watched>()
  #timer: NodeJS.Timeout | undefined
  #reading = false

  watch(one: Watched): void {
    if (process.platform !== 'linux') return
    this.#watched.add(one)
    this.#timer ??= setInterval(() => void this.#look(), INTERVAL_MS).unref()
  }

  unwatch(one: Watched): void {
    if (!this.#watched.delete(one) || this.#watched.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  async #look(): Promise<void> {
    if (this.#reading || this.#watched.size === 0) return
    this.#reading = true
    // Those that are watched before the table is read: a connection made later is not in it, and not gone.
    const watched = [...this.#watched]
    try {
      const alive = await establishedSockets()
      for (const one of watched) {
        if (this.#watched.has(one) && !alive.has(nameOf(one.socket))) one.vanished()
      }
    } catch {
      // No /proc (a hardened container): the timeouts bound the wait.
    } finally {
      this.#reading = false
    }
  }
}

function nameOf(socket: Socket): string {
  return `${socket.localPort}<${addressBytes(socket.remoteAddress ?? '')}:${socket.remotePort}`
}

/** Every socket of this network namespace whose peer has not closed, by our port and the peer's address and port. */
async function establishedSockets(): Promise<ReadonlySet<string>> {
  const alive = new Set<string>()
  for (const file of ['/proc/self/net/tcp', '/proc/self/net/tcp6']) {
    const table = await readFile(file, 'latin1').catch(() => '')
    for (const line of table.split('\n')) {
      const [, local, remote, state] = line.trim().split(/\s+/, 4)
      if (local === undefined || remote === undefined || state === undefined || state === CLOSE_WAIT) continue
      const [address, port] = remote.split(':')
      if (address === undefined || port === undefined) continue
      const localPort = Number.parseInt(local.slice(local.indexOf(':') + 1), 16)
      alive.add(`${localPort}<${fromTable(address)}:${Number.parseInt(port, 16)}`)
    }
  }
  return alive
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
