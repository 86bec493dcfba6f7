/**
 * Where the log goes, opened so that writing to it cannot stop the event loop.
 *
 * What may stall is kept out of libuv's thread pool too: a write(2) that blocks there cannot be cancelled, and exit joins
 * the pool. Measured on Node 20.20.2: with 1 MiB in `fs.write(1, ...)` to a pipe whose reader slept 8 s, a process that
 * called `process.exit()` after 0.2 s ended after 8.0 s (a test in log-sink.test.ts keeps the fact). So:
 * - Pipes, FIFOs and terminals are opened anew, through /proc/self/fd/N where they were inherited, with O_NONBLOCK: a
 *   description of our own. Setting the flag on the inherited one would set it for every process that shares it (the
 *   shell, the sibling behind `2>&1`), and theirs would fail with EAGAIN.
 * - Sockets (what node's child_process, systemd and inetd hand out as stdout) cannot be opened anew (ENXIO). libuv makes
 *   them non-blocking when a handle is put around the descriptor, and Node restores the flags at exit.
 * - Regular files take no notice of O_NONBLOCK, and a disk can be slow: they alone are written through the thread pool.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats, writeSync } from 'node:fs'
import { Socket } from 'node:net'

const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants

/** Before the umask; readable, for a log shipper that runs as another user. */
const FILE_MODE = 0o644

/** Up to PIPE_BUF a pipe takes a write whole or not at all (POSIX write(2)): no line up to that length is ever cut. */
const PIPE_BUF_BYTES = 4096
/** Not promised for a unix socket, but so: 17 writes of 16 KiB and then EAGAIN, none cut; of 64 KiB the last one was. */
const SOCKET_WRITE_BYTES = 16 * 1024
const FILE_WRITE_BYTES = 64 * 1024

export interface Destination {
  readonly fd: number
  /** Through the thread pool; else writeSync, which says EAGAIN instead of waiting. */
  readonly threaded: boolean
  readonly maxWriteBytes: number
  /** Ours to close and to open anew; else inherited, and all there is. */
  readonly owned: boolean
  /** Keeps libuv's handle, and with it the descriptor's mode, while the destination is used. */
  readonly handle?: Socket
}

/** @param name `stdout`, `stderr`, or a path; throws the error of open(2), for a FIFO that nobody reads ENXIO */
export function openDestination(name: string): Destination {
  if (name === 'stdout') return inherited(1)
  if (name === 'stderr') return inherited(2)
  const fd = openSync(name, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, FILE_MODE)
  try {
    const stats = fstatSync(fd)
    if (stats.isFile()) endLastLine(name, fd, stats)
    return described(fd, stats, true)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

export function closeDestination(destination: Destination): void {
  if (destination.owned) closeSync(destination.fd)
}

function inherited(fd: 1 | 2): Destination {
  const stats = fstatSync(fd)
  if (stats.isSocket()) return madeNonBlocking(fd)
  // `> out.log 2>&1` is one description with one offset: through another, what goes to stderr would overwrite our lines.
  if (stats.isFile()) return described(fd, stats, false)
  try {
    return described(openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY), stats, true)
  } catch (error) {
    // A pipe without a reader is a state that may pass. All else (no /proc; another user's pipe after a change of user,
    // EACCES) will not, and what was inherited can still be written to.
    if (error instanceof Error && 'code' in error && error.code === 'ENXIO') throw error
    return stats.isFIFO() ? madeNonBlocking(fd) : described(fd, stats, false)
  }
}

function described(fd: number, stats: Stats, owned: boolean): Destination {
  if (stats.isFile()) return { fd, threaded: true, maxWriteBytes: FILE_WRITE_BYTES, owned }
  // An inherited terminal that could not be opened anew may block (Ctrl-S): rather a thread than the event loop.
  return { fd, threaded: !owned, maxWriteBytes: PIPE_BUF_BYTES, owned }
}

function madeNonBlocking(fd: number): Destination {
  const handle = new Socket({ fd, readable: false, writable: true })
  // It is never written to through the stream, so it has nothing to report; but an 'error' nobody hears would be thrown.
  handle.on('error', () => undefined)
  handle.unref()
  return { fd, threaded: false, maxWriteBytes: SOCKET_WRITE_BYTES, owned: false, handle }
}

/** A file left in the middle of a line (a full disk, a killed process) gets a newline, so that ours begins its own. */
function endLastLine(path: string, fd: number, stats: Stats): void {
  if (stats.size > 0 && lastByte(path, stats.size) !== 0x0a) writeSync(fd, '\n')
}

function lastByte(path: string, sizeBytes: number): number {
  const last = Buffer.from('\n')
  try {
    const reader = openSync(path, constants.O_RDONLY | O_NONBLOCK)
    try {
      readSync(reader, last, 0, 1, sizeBytes - 1)
    } finally {
      closeSync(reader)
    }
  } catch {
    // We may be allowed to write and not to read: taken as whole.
  }
  return last[0] ?? 0
}
