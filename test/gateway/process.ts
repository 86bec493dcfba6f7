/** The gateway as a process of its own, as an operator starts it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { within } from '../../src/prove/awaiting.ts'
import type { LogFault } from '../../src/prove/faults.ts'
import { type LogReader, spawnWithLog } from '../../src/prove/log-faults.ts'
import { sumOf } from '../support/gateway.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const command = (args: readonly string[]): string[] => ['--import', 'tsx', CLI, ...args]

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end. */
export async function runCli(t: TestContext, args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, command(args), { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
  const [code] = (await within(once(child, 'close'), 30_000, `end of ${args.join(' ')}`)) as [number | null]
  return { code, stdout: stdout(), stderr: stderr() }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  return () => text
}

export function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-run-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function writeConfig(t: TestContext, yaml: string): string {
  const path = join(folderOf(t), 'hopgate.yaml')
  writeFileSync(path, yaml)
  return path
}

/** Below the range from which the kernel gives out ports (32768 and up): nobody takes one before its gateway does. */
const FIRST_PORT = 10_000
let ports = (process.pid * 16) % 20_000

export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer()
    const port = FIRST_PORT + (ports++ % 20_000)
    const free = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise(resolve => server.close(resolve))
    return port
  }
}

/** `hopgate run -c config`, ready; ended with the test. For a configuration that the test has written whole. */
export async function startRun(t: TestContext, config: string, adminPort: number): Promise<void> {
  const child = spawn(process.execPath, command(['run', '-c', config]), { stdio: ['ignore', 'ignore', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  const stderr = collect(child.stderr)
  const deadline = performance.now() + 30_000
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => undefined)
    await response?.arrayBuffer()
    if (response?.status === 200) return
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`hopgate does not start: ${stderr()}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

export interface RunSpec {
  readonly upstream: string
  readonly route?: string
  /** In `listen`, behind the address: `, backlog: 16`. */
  /** Of the upstream, behind its endpoints. */
  readonly pool?: string
  /** Under `listen:`, behind the address. */
  readonly listen?: string
  /** At the top level. */
  readonly rest?: string
  readonly drain?: string
  /** Default: off, so that every request and connection is the test's own. */
  readonly selfprobe?: string
  /** Before the program: what else node is to load. */
  readonly nodeArgs?: readonly string[]
}

export interface GatewayProcess {
  readonly child: ChildProcess
  readonly port: number
  readonly adminPort: number
  readonly stderr: () => string
  /** With a log fault: the reading end of its standard output. */
  readonly reader: LogReader | undefined
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>
  /** Exchanges under way, from `/-/inflight`: asking does not look at the kernel, as a scrape does. */
  inflight(): Promise<number>
  /** The status of `/readyz`; 0: the admin listener is gone. */
  ready(): Promise<number>
  /** Asks again and again until the answer is the wanted one. */
  until(what: string, reached: () => Promise<boolean> | boolean, patienceMs?: number): Promise<void>
  signal(name: NodeJS.Signals): void
  /** Its exit code, and `performance.now()` ms. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null; at: number }>
}

export async function startProcess(t: TestContext, spec: RunSpec, log?: LogFault): Promise<GatewayProcess> {
  const [port, adminPort] = [await freePort(), await freePort()]
  const config = writeConfig(
    t,
    [
      `listen: { address: "127.0.0.1:${port}" ${spec.listen ?? ''} }`,
      `admin: { address: "127.0.0.1:${adminPort}" }`,
      `drain: ${spec.drain ?? '{ delay: 10ms, deadline: 2s }'}`,
      `selfprobe: ${spec.selfprobe ?? 'off'}`,
      `upstreams: { up: { endpoints: ["${spec.upstream}"] ${spec.pool ?? ''} } }`,
      `routes: [{ name: r, match: { path_prefix: / }, upstream: up ${spec.route ?? ''} }]`,
      spec.rest ?? '',
    ].join('\n'),
  )
  const args = [...(spec.nodeArgs ?? []), ...command(['run', '-c', config])]
  const started =
    log === undefined
      ? { child: spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] }), reader: undefined }
      : spawnWithLog(process.execPath, args, log)
  const { child, reader } = started
  const stderr = collect(child.stderr)
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal, at: performance.now() }))
  t.after(() => {
    child.kill('SIGKILL')
    reader?.close()
  })
  const ready = async (): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => undefined)
    await response?.arrayBuffer()
    return response?.status ?? 0
  }
  const until: GatewayProcess['until'] = async (what, reached, patienceMs = 10_000) => {
    const deadline = performance.now() + patienceMs
    while (!(await reached())) {
      if (performance.now() > deadline) throw new Error(`not within ${patienceMs} ms: ${what}; stderr: ${stderr()}`)
      if (child.exitCode !== null)
        throw new Error(`it ended with ${child.exitCode} before: ${what}; stderr: ${stderr()}`)
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
  await until('readyz 200', async () => (await ready()) === 200, 30_000)
  return {
    child,
    port,
    adminPort,
    stderr,
    reader,
    ready,
    until,
    metric: async (name, labels = {}) =>
      sumOf(await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text(), name, labels),
    inflight: async () =>
      ((await (await fetch(`http://127.0.0.1:${adminPort}/-/inflight`)).json()) as unknown[]).length,
    signal: name => {
      child.kill(name)
    },
    exited: within(exited, 60_000, 'end of the gateway'),
  }
}
