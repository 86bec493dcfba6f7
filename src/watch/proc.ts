/** Small files of /proc, read and understood one by one: each gives null where it is missing or reads otherwise. */
import { readFileSync } from 'node:fs'
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { readRow, type TableRow } from '../exchange/socket-table.ts'

/** Of a table that is read piece by piece: 430 rows, whose parsing holds the event loop for less than 1 ms. */
const PIECE_BYTES = 64 * 1024

async function textOf(path: string): Promise<string> {
  return await readFile(path, 'latin1').catch(() => '')
}

/** Rows that /proc/self/net/tcp and tcp6 have together, at least: `TCP: inuse 54 orphan 0 tw 1910 alloc 56 mem 8269`. */
export async function socketsInUse(): Promise<number | null> {
  const [four, six] = await Promise.all([textOf('/proc/self/net/sockstat'), textOf('/proc/self/net/sockstat6')])
  const inUse = /^TCP: inuse (\d+) orphan \d+ tw (\d+)/m.exec(four)
  if (inUse === null) return null
  return Number(inUse[1]) + Number(inUse[2]) + Number(/^TCP6: inuse (\d+)/m.exec(six)?.[1] ?? 0)
}

/** Two lines for each group, names and numbers: `TcpExt: ... ListenOverflows ListenDrops ...`. */
export async function listenCounters(): Promise<{ overflows: number; drops: number } | null> {
  const [names, numbers] = (await textOf('/proc/self/net/netstat'))
    .split('\n')
    .filter(line => line.startsWith('TcpExt:'))
    .map(line => line.split(' '))
  if (names === undefined || numbers === undefined) return null
  const of = (name: string): number => Number(numbers[names.indexOf(name)])
  const [overflows, drops] = [of('ListenOverflows'), of('ListenDrops')]
  return Number.isNaN(overflows) || Number.isNaN(drops) ? null : { overflows, drops }
}

/** From Linux 6.2 on the size of the folder is the number of its entries; it costs no descriptor, when none is left. */
export async function descriptors(): Promise<{ open: number; max: number } | null> {
  try {
    const { size } = await stat('/proc/self/fd')
    const openNow = size > 0 ? size : (await readdir('/proc/self/fd')).length - 1
    return { open: openNow, max: maxDescriptors() }
  } catch {
    return null
  }
}

let maxKnown: number | undefined

/** The soft limit: what open(2) obeys. It is read once: Node raises it to the hard one at its start, and nobody after. */
function maxDescriptors(): number {
  if (maxKnown === undefined) {
    const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    maxKnown = soft === 'unlimited' ? Infinity : Number(soft)
  }
  return maxKnown
}

/** The number, or numbers, that a file below /proc/sys holds; null where there is none. */
export function numbersIn(path: string): readonly number[] | null {
  try {
    const numbers = readFileSync(path, 'latin1').trim().split(/\s+/).map(Number)
    return numbers.some(Number.isNaN) ? null : numbers
  } catch {
    return null
  }
}

/**
 * Hands every row of a socket table to `visit`, piece by piece: other events are served in between.
 * @param width hexadecimal digits of an address in it: 8, in tcp6 32
 * @returns ms that the event loop was held in all; throws the error of open(2) or read(2)
 */
export async function eachRow(path: string, width: number, visit: (row: TableRow) => void): Promise<number> {
  const file = await open(path, 'r')
  try {
    const piece = Buffer.alloc(PIECE_BYTES)
    let held = 0
    let rest = ''
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, null)
      const began = performance.now()
      const lines = (rest + piece.toString('latin1', 0, bytesRead)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const row = readRow(line, width)
        if (row !== undefined) visit(row)
      }
      held += performance.now() - began
      if (bytesRead === 0) return held
    }
  } finally {
    await file.close()
  }
}
