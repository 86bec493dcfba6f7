import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LogFault } from './faults.ts'

/** The reading end of a child's standard output, in the test's hands. */
export interface LogReader {
  /** What the pipe holds now, at most 1 MiB; makes room for as much. Does not wait. */
  readNow(): string
  /** The reader goes away: the child's next write is EPIPE. */
  close(): void
}

export interface SpawnedWithLog {
  readonly child: ChildProcess
  /** Only with a pipe: not for `full`. */
  readonly reader: LogReader | undefined
}

/**
 * Spawns a command whose standard output meets `fault`. The pipe is a true pipe(2) of 64 KiB, as a shell or a container
 * runtime makes one: the "pipes" of node's own spawn are socket pairs, and node reads ahead of what a test reads.
 * Standard error is a normal pipe of node's.
 */
export function spawnWithLog(
  command: string,
  args: readonly string[],
  fault: LogFault,
  options: Omit<SpawnOptions, 'stdio'> = {},
): SpawnedWithLog {
  if (fault.then === 'full') {
    const full = openSync('/dev/full', 'w')
    const child = spawn(command, args, { ...options, stdio: ['ignore', full, 'pipe'] })
    closeSync(full)
    return { child, reader: undefined }
  }
  const pipe = openPipe()
  const child = spawn(command, args, { ...options, stdio: ['ignore', pipe.writeFd, 'pipe'] })
  closeSync(pipe.writeFd)
  const reader = readerOf(pipe.readFd)
  if (fault.then === 'close') reader.close()
  return { child, reader }
}

/** Node has no pipe(2) of its own, so: a FIFO in a directory that is removed at once. */
function openPipe(): { readonly readFd: number; readonly writeFd: number } {
  const directory = mkdtempSync(join(tmpdir(), 'hopgate-log-'))
  const path = join(directory, 'pipe')
  try {
    execFileSync('mkfifo', [path])
    // The reader first, non-blocking: a blocking open of either end waits for the other.
    const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writeFd = openSync(path, constants.O_WRONLY)
    return { readFd, writeFd }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function readerOf(readFd: number): LogReader {
  let isOpen = true
  return {
    readNow: () => {
      const chunks: Buffer[] = []
      for (let read = 0; isOpen && read < 1024 * 1024; ) {
        const chunk = Buffer.alloc(64 * 1024)
        let bytes = 0
        try {
          bytes = readSync(readFd, chunk)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
        }
        if (bytes === 0) break
        chunks.push(chunk.subarray(0, bytes))
        read += bytes
      }
      return Buffer.concat(chunks).toString()
    },
    close: () => {
      if (isOpen) closeSync(readFd)
      isOpen = false
    },
  }
}
