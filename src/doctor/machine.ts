/** Where an examination reads from: /proc, /sys, the process and the network. Tests plant their own. */
import { lookup } from 'node:dns/promises'
import { fstatSync, readFileSync, type Stats, statSync } from 'node:fs'
import { connect } from 'node:net'
import { availableParallelism, platform } from 'node:os'
import { isatty } from 'node:tty'
import { getHeapStatistics } from 'node:v8'
import type { Env } from '../config/env.ts'

export type Output = 'pipe' | 'file' | 'socket' | 'terminal' | 'null' | 'other' | 'closed'

export interface Machine {
  /** As `process.platform`. */
  readonly platform: string
  readonly env: Env
  /** The text of a file in /proc or /sys, trimmed; null where it cannot be read. */
  readonly read: (path: string) => string | null
  /** What standard output (1) or standard error (2) is. */
  readonly output: (fd: 1 | 2) => Output
  /** Whether the folder of a log file is there. */
  readonly isFolder: (path: string) => boolean
  /** V8 collects garbage to stay below it, and ends the process when it cannot. */
  readonly heapLimitBytes: number
  readonly cpus: number
  /** The addresses of a name. */
  readonly resolve: (name: string) => Promise<readonly string[]>
  /** Opens a TCP connection, and closes it; rejects with the error of the socket, or ETIMEDOUT after `timeoutMs`. */
  readonly dial: (host: string, port: number, timeoutMs: number) => Promise<void>
}

export function thisMachine(env: Env): Machine {
  return {
    platform: platform(),
    env,
    read: path => {
      try {
        return readFileSync(path, 'utf8').trim()
      } catch {
        return null
      }
    },
    output: outputOf,
    isFolder: path => {
      try {
        return statSync(path).isDirectory()
      } catch {
        return false
      }
    },
    heapLimitBytes: getHeapStatistics().heap_size_limit,
    cpus: availableParallelism(),
    resolve: async name => (await lookup(name, { all: true })).map(({ address }) => address),
    dial,
  }
}

function outputOf(fd: 1 | 2): Output {
  let stats: Stats
  try {
    stats = fstatSync(fd)
  } catch {
    return 'closed'
  }
  if (stats.isFIFO()) return 'pipe'
  if (stats.isSocket()) return 'socket'
  if (stats.isFile()) return 'file'
  if (!stats.isCharacterDevice()) return 'other'
  return isatty(fd) ? 'terminal' : 'null'
}

function dial(host: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    const timer = setTimeout(() => {
      socket.destroy()
      reject(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.destroy()
      resolve()
    })
    socket.once('error', error => {
      clearTimeout(timer)
      reject(error)
    })
  })
}

/** A file that holds one number; null where it does not. */
export function readNumber({ read }: Machine, path: string): number | null {
  const text = read(path)
  return text === null || !/^-?\d+$/.test(text) ? null : Number(text)
}
