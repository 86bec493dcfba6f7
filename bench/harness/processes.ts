/** Everything the bench starts: pinned to a core, and ended by its own pid whatever happens to the bench. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { availableParallelism } from 'node:os'

export const PROXY_CORE = 0
export const LOAD_CORE = 1

export interface Started {
  readonly name: string
  readonly pid: number
  readonly child: ChildProcess
  /** Whatever it wrote to stderr, the last 2000 characters. */
  complaints(): string
}

export interface Command {
  readonly name: string
  readonly argv: readonly string[]
  readonly core: number
  readonly env?: Readonly<Record<string, string>>
  /** File descriptor or 'pipe'. */
  readonly stdout?: number | 'pipe'
  readonly stdin?: 'pipe'
  readonly cwd?: string
}

export function which(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0
}

export const canPin = which('taskset') && availableParallelism() > 1
/** The kernel ends them with us, even where we are killed and cannot. */
const tied = which('setpriv') ? ['setpriv', '--pdeathsig', 'KILL'] : []
const CLOCK_TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
const PAGE_BYTES = Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }))

const running = new Set<Started>()

export function start({ name, argv, core, env = {}, stdout, stdin, cwd }: Command): Started {
  const pinned = canPin ? ['taskset', '-c', String(core)] : []
  const [file = '', ...args] = [...tied, ...pinned, ...argv]
  const child = spawn(file, args, {
    env: { ...process.env, NODE_ENV: 'production', ...env },
    stdio: [stdin ?? 'ignore', stdout ?? 'ignore', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  if (child.pid === undefined) throw new Error(`${name}: cannot start ${argv[0]}`)
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-2000)
  })
  child.on('error', error => {
    stderr += String(error)
  })
  const started: Started = { name, pid: child.pid, child, complaints: () => stderr.trim() }
  running.add(started)
  child.once('exit', () => running.delete(started))
  return started
}

/** The process and its descendants: nginx works in a child. */
export function family(pid: number): readonly number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    const parent = /^\d+$/.test(entry) ? stat(Number(entry))?.ppid : undefined
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
  }
  const found = [pid]
  for (const member of found) found.push(...(children.get(member) ?? []))
  return found
}

function stat(pid: number): { ppid: number; ticks: number; rssBytes: number } | undefined {
  try {
    // The name, in brackets, may hold spaces; what follows does not.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return {
      ppid: Number(fields[1]),
      ticks: Number(fields[11]) + Number(fields[12]),
      rssBytes: Number(fields[21]) * PAGE_BYTES,
    }
  } catch {
    return undefined
  }
}

/** utime + stime of the process and its descendants, in microseconds. */
export function cpuMicros(pid: number): number {
  return (family(pid).reduce((sum, member) => sum + (stat(member)?.ticks ?? 0), 0) / CLOCK_TICKS) * 1e6
}

export function rssBytes(pid: number): number {
  return family(pid).reduce((sum, member) => sum + (stat(member)?.rssBytes ?? 0), 0)
}

export async function stop(started: Started): Promise<void> {
  if (!running.has(started)) return
  const members = family(started.pid)
  const exited = new Promise<void>(resolve => started.child.once('exit', () => resolve()))
  started.child.kill('SIGTERM')
  const late = setTimeout(() => kill(members), 1000)
  await Promise.race([exited, sleep(3000)])
  clearTimeout(late)
  kill(members.slice(1))
}

function kill(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Gone already.
    }
  }
}

function killAll(): void {
  for (const { pid } of running) kill(family(pid))
}

/** @param tidy what else is to be left behind clean */
export function endWithUs(tidy: () => void): void {
  process.once('exit', () => {
    killAll()
    tidy()
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** All at once, so that no two are the same. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

export async function listening(started: Started, port: number, withinMs = 10_000): Promise<void> {
  const until = Date.now() + withinMs
  while (Date.now() < until && running.has(started)) {
    const open = await new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return
    await sleep(50)
  }
  throw new Error(`${started.name} does not listen: ${started.complaints() || 'no reason given'}`)
}
