/** `hopgate run`: the gateway, from start to a clean end. */
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { examine } from '../doctor/doctor.ts'
import type { Finding } from '../doctor/finding.ts'
import { thisMachine } from '../doctor/machine.ts'
import { prepareEngine } from '../engine.ts'
import { startGateway } from '../gateway.ts'
import { LogSink } from '../observe/log-sink.ts'
import type { CommandIo } from './io.ts'

const EXIT_CONFIG = 78
/** Ctrl-C reaches a child of npm twice: from the terminal and from npm, 32 ms apart (measured). One is not a second. */
const SAME_SIGNAL_MS = 300

export async function run(file: string, io: CommandIo): Promise<number> {
  const result = loadConfig(file, io.env)
  if (!result.ok) {
    for (const issue of result.errors) io.stderr.write(`${renderIssue(issue, file)}\n`)
    return EXIT_CONFIG
  }
  return serve(result.config, io)
}

/** Runs until a signal or a failure ends it. @param started called once it listens, with the ports. */
export async function serve(
  config: Config,
  io: CommandIo,
  started?: (ports: { gateway: number; admin: number }) => void,
): Promise<number> {
  prepareEngine()
  const findings = preflight(config, io)
  const errors = findings.filter(({ level }) => level === 'error')
  if (config.preflight === 'strict' && errors.length > 0) {
    for (const { check, is, means, mend } of errors) {
      io.stderr.write(`preflight: ${check}: ${is}; ${means}; ${mend}\n`)
    }
    return EXIT_CONFIG
  }
  const sink = new LogSink({ destination: config.log.destination, bufferBytes: config.log.bufferBytes })
  let gateway: Awaited<ReturnType<typeof startGateway>>
  try {
    gateway = await startGateway({ config, sink, version: io.version, watchdog: true })
  } catch (error) {
    io.stderr.write(`hopgate: cannot start: ${(error as Error).message}\n`)
    await sink.close()
    return 1
  }
  const { events } = gateway.log
  const { address, adminAddress } = gateway
  for (const { path, message } of config.warnings) events.warn(`${path}: ${message}`)
  for (const { check, level, is, means, mend } of findings) {
    events[level === 'error' ? 'error' : 'warn']({ preflight: check, means, mend }, is)
  }
  events.info({ address: `${address.address}:${address.port}`, version: io.version }, 'listening')
  events.info({ address: `${adminAddress.address}:${adminAddress.port}` }, 'admin listening')
  started?.({ gateway: address.port, admin: adminAddress.port })

  let ending = false
  let endingSince = 0
  const ended = new Promise<number>(resolve => {
    const end = (code: number): void => {
      ending = true
      endingSince = performance.now()
      gateway
        .drain()
        .then(async killed => {
          if (killed > 0) events.warn({ killed }, 'drain deadline passed, exchanges were cut')
          await gateway.close()
          events.info('stopped')
          resolve(code)
        })
        .catch(error => {
          io.stderr.write(`hopgate: ${String(error)}\n`)
          resolve(1)
        })
    }
    io.onSignal(['SIGTERM', 'SIGINT'], signal => {
      if (ending) {
        if (performance.now() - endingSince < SAME_SIGNAL_MS) return
        events.warn({ signal }, 'second signal, cutting what is in flight')
        gateway.cut()
        return
      }
      events.info({ signal, delay_ms: config.drain.delayMs, deadline_ms: config.drain.deadlineMs }, 'draining')
      end(0)
    })
    io.onSignal(['SIGHUP'], () => {
      events.info('reopening the log')
      sink.reopen()
    })
    io.onFailure((kind, reason) => {
      // One line, straight to stderr: the log itself may be what failed.
      const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)
      io.stderr.write(`hopgate: ${kind}: ${text.replaceAll('\n', ' | ')}\n`)
      if (ending) {
        io.exit(1)
        return
      }
      end(1)
    })
  })
  const code = await ended
  await sink.close()
  // Whatever still holds the loop (a black-holed dial, a stuck file write) must not hold the exit.
  io.exit(code)
  return code
}

/** What `doctor` would say of this machine. Each look is a small file of /proc or /sys: 4 ms together (measured). */
function preflight(config: Config, io: CommandIo): readonly Finding[] {
  if (config.preflight === 'off') return []
  return examine(config, thisMachine(io.env)).filter(({ level }) => level === 'error' || level === 'warning')
}
