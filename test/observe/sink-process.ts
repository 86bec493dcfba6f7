/** The parent's side of sink-child.ts, and the things a log is piped into. */
import { type ChildProcess, execFileSync, type IOType, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Command, Report } from './sink-child.ts'

const CHILD = fileURLToPath(new URL('./sink-child.ts', import.meta.url))

export interface SinkProcess {
  readonly process: ChildProcess
  /** What it reported when it had opened its sink. */
  readonly first: Report
  ask(command: Command): Promise<Report>
  /** Asks again and again, until the report is as wanted; fails after 5 s. */
  until(wanted: (report: Report) => boolean): Promise<Report>
  /** Closes the sink and lets the process end: its last report, its exit code, and how long both took. */
  exit(): Promise<{ readonly report: Report; readonly code: number | null; readonly tookMs: number }>
}

interface StartOptions {
  readonly destination?: string
  readonly bufferBytes?: number
  readonly stdout?: IOType | number
  /** Soft RLIMIT_FSIZE in blocks of 512 bytes: the nearest to a full disk that needs no mount. */
  readonly fileBlocks?: number
}

export async function startSink(t: TestContext, options: StartOptions): Promise<SinkProcess> {
  const { destination = 'stdout', bufferBytes = 1 << 20, stdout = 'ignore', fileBlocks } = options
  const limit = fileBlocks === undefined ? '' : `ulimit -S -f ${fileBlocks};`
  const command = [process.execPath, '--import', 'tsx', CHILD, destination, String(bufferBytes)]
  const child = spawn('/bin/sh', ['-c', `${limit} exec "$@"`, 'sh', ...command], {
    stdio: ['ignore', stdout, 'inherit', 'ipc'],
  })
  t.after(() => child.kill('SIGKILL'))
  const answer = async () => (await once(child, 'message'))[0] as Report
  const ask = (command: Command) => {
    const answered = answer()
    child.send(command)
    return answered
  }
  return {
    process: child,
    first: await answer(),
    ask,
    until: async wanted => {
      const giveUpAt = performance.now() + 5000
      for (;;) {
        const report = await ask({ do: 'report' })
        if (wanted(report)) return report
        if (performance.now() > giveUpAt) throw new Error(`not within 5 s: ${JSON.stringify(report)}`)
        await new Promise(resolve => setTimeout(resolve, 10))
      }
    },
    exit: async () => {
      const began = performance.now()
      const exited = once(child, 'exit')
      const report = await ask({ do: 'exit' })
      const [code] = (await exited) as [number | null]
      return { report, code, tookMs: performance.now() - began }
    },
  }
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-sink-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function makeFifo(path: string): void {
  execFileSync('mkfifo', [path])
}

/** Opens a FIFO's reading end; reads nothing until told. */
export function openReader(path: string): number {
  return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
}

/** A real pipe, not the socket pair that node calls 'pipe': both ends, the writing one blocking as a shell's is. */
export function makePipe(folder: string): { readFd: number; writeFd: number } {
  const path = join(folder, 'pipe')
  makeFifo(path)
  const readFd = openReader(path)
  const writeFd = openSync(path, constants.O_WRONLY)
  rmSync(path)
  return { readFd, writeFd }
}

/** Reads lines from a pipe's reading end, which it then owns. */
export class LineReader {
  readonly #socket: Socket
  #text = ''

  constructor(source: number | Socket) {
    this.#socket = typeof source === 'number' ? new Socket({ fd: source, readable: true, writable: false }) : source
    this.#socket.setEncoding('utf8').on('error', () => undefined)
    this.#socket.on('data', (chunk: string) => {
      this.#text += chunk
    })
  }

  /** The text of what has arrived so far. */
  get text(): string {
    return this.#text
  }

  /** Resolves when the text holds so many whole lines. */
  async lines(count: number): Promise<string[]> {
    while (this.#text.split('\n').length <= count) await once(this.#socket, 'data')
    return this.#text.split('\n').slice(0, -1)
  }

  /** Everything, up to the end of the stream. */
  async rest(): Promise<string> {
    if (!this.#socket.readableEnded) await once(this.#socket, 'end')
    return this.#text
  }

  close(): void {
    this.#socket.destroy()
  }
}
