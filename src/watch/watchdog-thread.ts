/**
 * The watchdog's own thread. It has an event loop of its own, so it sees, says and answers while the main one stands
 * still: one line straight to stderr, 503 at its own listener, and the end of the process where that is wanted.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import type { WatchdogConfig } from '../config/config.ts'
import { exitFromMainThread, stackOfMainThread } from './main-thread.ts'
import { beatMs, EXIT_STALLED, WatchdogMemory, type WatchdogMessage } from './watchdog-memory.ts'

/** For the stack (13 to 26 ms, and on a machine with six times too much to do more than 250); then the line goes without. */
const STACK_PATIENCE_MS = 1500
/** For the process to end by its exit code; then it is killed. */
const EXIT_PATIENCE_MS = 1000

const { config, shared } = workerData as { readonly config: WatchdogConfig; readonly shared: SharedArrayBuffer }
const memory = new WatchdogMemory(shared)
const stderr = openStderr()
/** The age of a beat that says that the loop has stood still for `stall`. */
const standsMs = config.stallMs + beatMs(config)
const killMs = config.killMs + beatMs(config)
/** A timer of this thread that is so late tells that the thread did not run. */
const LATE_MS = Math.max(250, config.stallMs / 4)

/** The age of the last beat when this thread last came back from not running; it is not held against the loop. */
let forgivenMs = 0
let reported = false
let ending = false

function stalledMs(): number {
  const age = memory.beatAgeMs
  // Another beat has come since.
  if (age < forgivenMs) forgivenMs = 0
  return age - forgivenMs
}

/** @param lateMs how late it is called */
function look(lateMs: number): void {
  // Not the loop stood still, everything did: the process was stopped (SIGSTOP), its container frozen.
  if (lateMs > LATE_MS) forgivenMs = memory.beatAgeMs
  const stood = stalledMs()
  if (stood < standsMs) {
    reported = false
  } else if (!reported) {
    reported = true
    memory.stalled()
    void report()
  }
  if (stood >= killMs && !ending) {
    ending = true
    say({ msg: `the event loop stands still: the process ends with exit code ${EXIT_STALLED}`, stalled_ms: stood })
    exitFromMainThread(EXIT_STALLED)
    // In native code nothing can be interrupted.
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), EXIT_PATIENCE_MS)
  }
  // No sooner than there can be something to see; while it stands, twice a beat, to see it turn again.
  const next = stood < standsMs ? standsMs - stood : beatMs(config) / 2
  const due = performance.now() + next
  setTimeout(() => look(performance.now() - due), next)
}

async function report(): Promise<void> {
  // Of before the stack is asked for: the main thread goes on then.
  const text = memory.read()
  const oldest = text === '' ? [] : (JSON.parse(text) as { age_ms: number }[])
  const stood = stalledMs()
  const stack = await stackOfMainThread(STACK_PATIENCE_MS)
  say({
    msg: 'the event loop stands still',
    stalled_ms: stood,
    stack: stack ?? 'not to be had: the main thread is in native code (synchronous I/O, garbage collection)',
    oldest: oldest.map(exchange => ({ ...exchange, age_ms: exchange.age_ms + stood })),
  })
}

function say(told: object): void {
  try {
    writeSync(stderr, `${JSON.stringify({ time: new Date().toISOString(), level: 'error', ...told })}\n`)
  } catch {
    // A pipe that nobody reads: this thread has more to do than to wait for it.
  }
}

/** A pipe or a terminal may block whoever writes to it (incident 2): opened anew, it says EAGAIN instead. */
function openStderr(): number {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
  try {
    const stats = fstatSync(2)
    if (!stats.isFIFO() && !stats.isCharacterDevice()) return 2
    return openSync('/proc/self/fd/2', O_WRONLY | O_NONBLOCK | O_NOCTTY)
  } catch {
    return 2
  }
}

/** `GET /healthz`: 503 while the loop stands still, and what the gateway's own says otherwise. */
function answering(): Server {
  const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (req, res) => {
    const stood = stalledMs()
    const standing = stood >= standsMs
    const reason = standing ? `the event loop has not turned for ${stood} ms` : 'see /healthz of the admin listener'
    const known = req.url === '/healthz'
    const ill = standing || memory.ill
    const body = !known ? { status: 'not found' } : ill ? { status: 'failing', reasons: [reason] } : { status: 'ok' }
    res.writeHead(!known ? 404 : ill ? 503 : 200, { 'Content-Type': 'application/json', Connection: 'close' })
    res.end(`${JSON.stringify(body)}\n`)
  })
  server.maxConnections = 64
  return server
}

function ready(message: WatchdogMessage): void {
  parentPort?.postMessage(message)
  look(0)
}

if (config.address === null) {
  ready({ address: null })
} else {
  const { host, port } = config.address
  const server = answering()
  server.once('error', error => {
    throw error
  })
  server.listen({ host, port }, () => ready({ address: server.address() as AddressInfo }))
}
