import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import type { Leave } from './faults.ts'

/**
 * The kernel's own table of TCP sockets: the only witness of a peer that leaves while we do not read. libuv takes a
 * socket that is neither read nor written out of epoll, so its FIN and RST are seen by nobody (stack facts 5 and 33).
 * Linux only; elsewhere the table is empty and the watchers never fire.
 */
export interface SocketRow {
  readonly localPort: number
  readonly remotePort: number
  readonly state: string
  /** Written by us and not yet acknowledged by the peer's kernel, bytes. */
  readonly unsentBytes: number
  /** Received and not yet read, bytes; of a LISTEN row: connections waiting to be accepted. */
  readonly unreadBytes: number
}

/** include/net/tcp_states.h, by number. */
const STATES = [
  '',
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
]

/**
 * IPv4 only: the kit listens on 127.0.0.1. Asynchronous because the kernel walks its whole hash table for it: 5 ms
 * measured for 130 rows, which must not come off the event loop that the gateway under test shares with us.
 */
export async function readSocketTable(): Promise<readonly SocketRow[]> {
  const rows: SocketRow[] = []
  let text: string
  try {
    text = await readFile('/proc/self/net/tcp', 'latin1')
  } catch {
    return rows
  }
  for (const line of text.split('\n').slice(1)) {
    // "   0: 0100007F:9905 0100007F:A0B0 01 00000000:00000000 ..." is of fixed width after the first colon.
    const at = line.indexOf(':') + 2
    if (at < 2) continue
    const hex = (from: number, length: number): number => Number.parseInt(line.slice(at + from, at + from + length), 16)
    rows.push({
      localPort: hex(9, 4),
      remotePort: hex(23, 4),
      state: STATES[hex(28, 2)] ?? '',
      unsentBytes: hex(31, 8),
      unreadBytes: hex(40, 8),
    })
  }
  return rows
}

export interface SocketEnds {
  readonly localPort: number
  readonly remotePort: number
}

export async function findRow(ends: SocketEnds): Promise<SocketRow | undefined> {
  const rows = await readSocketTable()
  return rows.find(row => row.localPort === ends.localPort && row.remotePort === ends.remotePort)
}

interface Watch {
  readonly ends: SocketEnds
  readonly left: (how: Leave) => void
  /** Polls in a row that did not find the socket. */
  missed: number
}

const POLL_MS = 5
const watches = new Set<Watch>()
let isPolling = false

/**
 * Calls `left` once when the peer of a socket that is not being read has left: its row says CLOSE_WAIT after a FIN
 * and is gone after a RST. Seen within about 25 ms. Returns how to stop.
 */
export function watchPeer(ends: SocketEnds, left: (how: Leave) => void): () => void {
  const watch: Watch = { ends, left, missed: 0 }
  watches.add(watch)
  if (!isPolling) setTimeout(poll, POLL_MS).unref()
  isPolling = true
  return () => watches.delete(watch)
}

async function poll(): Promise<void> {
  const startedAt = performance.now()
  const rows = new Map((await readSocketTable()).map(row => [`${row.localPort}-${row.remotePort}`, row.state]))
  for (const watch of rows.size > 0 ? watches : []) {
    const state = rows.get(`${watch.ends.localPort}-${watch.ends.remotePort}`)
    // Twice: the kernel hands the table out in pieces, and a row can slip between two of them when another goes.
    watch.missed = state === undefined ? watch.missed + 1 : 0
    if (state !== 'CLOSE_WAIT' && watch.missed < 2) continue
    watches.delete(watch)
    watch.left(state === 'CLOSE_WAIT' ? 'fin' : 'rst')
  }
  // A quarter of the time goes into polling at most, however many sockets the machine has.
  const pauseMs = Math.max(POLL_MS, 3 * (performance.now() - startedAt))
  isPolling = watches.size > 0
  if (isPolling) setTimeout(poll, pauseMs).unref()
}

/** Resolves when the peer's kernel has acknowledged every byte, the socket is gone, or `patienceMs` have passed. */
export async function acknowledged(socket: Socket, patienceMs: number): Promise<void> {
  const ends = { localPort: socket.localPort ?? 0, remotePort: socket.remotePort ?? 0 }
  const until = performance.now() + patienceMs
  while (!socket.destroyed && performance.now() < until) {
    // With some ten thousand sockets on the machine one reading can outlast all patience.
    const late = new Promise<'late'>(resolve => setTimeout(resolve, until - performance.now(), 'late'))
    const row = await Promise.race([findRow(ends), late])
    if (row === 'late') return
    if (socket.writableLength === 0 && (row === undefined || row.unsentBytes === 0)) return
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}
