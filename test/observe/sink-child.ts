/**
 * A process with a log sink, driven by its parent over IPC: writes as told, answers with what the sink shows, closes
 * and exits. Run with the destination and the buffer's bytes as arguments.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { LogSink } from '../../src/observe/log-sink.ts'
import { textLine } from '../support/text-line.ts'

/** What the parent asks for. */
export type Command =
  | { readonly do: 'write'; readonly lines: number; readonly lineBytes: number; readonly lineClass: 'access' | 'event' }
  | { readonly do: 'report' }
  | { readonly do: 'reopen' }
  | { readonly do: 'exit' }

export interface Report {
  readonly up: boolean
  readonly error: string
  readonly written: { readonly access: number; readonly event: number }
  readonly dropped: { readonly access: number; readonly event: number }
  readonly bufferedBytes: number
  /** Lines that close() gave up; -1: not closed. */
  readonly lost: number
  /** Worst delay of the event loop since the last report, ms. */
  readonly worstDelayMs: number
  readonly rssBytes: number
}

const sink = new LogSink({ destination: process.argv[2] ?? 'stdout', bufferBytes: Number(process.argv[3]) })
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
let count = 0

function report(lost = -1): Report {
  const { up, written, dropped, bufferedBytes, lastError } = sink
  const error = lastError?.message ?? ''
  const worstDelayMs = delay.max / 1e6
  delay.reset()
  return { up, error, written, dropped, bufferedBytes, lost, worstDelayMs, rssBytes: process.memoryUsage.rss() }
}

/** In bursts of 50 lines per turn of the event loop, as traffic would. */
function write(lines: number, lineBytes: number, lineClass: 'access' | 'event'): void {
  for (let burst = Math.min(50, lines); burst > 0; burst--) {
    const line = `${JSON.stringify({ n: count++, pad: '' }).slice(0, -2)}${'x'.repeat(lineBytes)}"}\n`
    if (lineClass === 'access') sink.writeAccess(textLine(line))
    else sink.write(line)
  }
  if (lines > 50) setImmediate(write, lines - 50, lineBytes, lineClass)
  else process.send?.(report())
}

process.on('message', (command: Command) => {
  if (command.do === 'write') write(command.lines, command.lineBytes, command.lineClass)
  if (command.do === 'report') process.send?.(report())
  if (command.do === 'reopen') {
    sink.reopen()
    process.send?.(report())
  }
  if (command.do === 'exit') {
    void sink.close().then(lost => {
      // process.exit joins the thread pool: a thread stuck in write(2) would show here.
      process.send?.(report(lost), () => process.exit(0))
    })
  }
})
process.send?.(report())
