/** The gateway's two kinds of log lines, events and access lines, through one sink. */
import { type Logger, pino } from 'pino'
import type { LogLevel } from '../outcome.ts'
import { accessLine } from './access-line.ts'
import type { Line } from './line-buffer.ts'
import type { ExchangeRecord } from './record.ts'

/** Where lines go: the log sink, or a test's memory. */
export interface LineSink {
  /** An event's line, with its newline. */
  write(line: string): void
  /** An access line, with its newline: to be taken before this returns, as bytes or by `toString`. */
  writeAccess(line: Line): void
}

export interface GatewayLog {
  /** What happens to the gateway itself. */
  readonly events: Logger
  /** The line of a finished exchange. Not filtered by `log.level`: `log.access` alone says whether it is wanted. */
  access(record: ExchangeRecord): void
}

export function createLogger(sink: LineSink, level: LogLevel): GatewayLog {
  const events = pino(
    {
      level,
      // Neither pid nor host name: whoever collects the lines knows better where they come from.
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label }) },
    },
    sink,
  )
  return {
    events,
    access: record => sink.writeAccess(accessLine(record, Date.now())),
  }
}
