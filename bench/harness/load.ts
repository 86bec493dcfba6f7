/** Load: wrk for saturation, the bundled generator (load/, Go; load/fallback.mjs where there is no Go) for the rest. */
import { execFile } from 'node:child_process'
import { createInterface } from 'node:readline'
import { canPin, LOAD_CORE, type Started, start, stop, which } from './processes.ts'

export interface Result {
  readonly ok: number
  readonly non2xx: number
  readonly errors: number
  readonly why: Readonly<Record<string, number>>
  readonly seconds: number
  /** Microseconds. */
  readonly p50: number
  readonly p99: number
}

export interface StormResult {
  readonly aborts: number
  /** How many the upstream saw closed because of it. */
  readonly closed: number
  readonly ranToItsEnd: number
  readonly neverReached: number
  readonly closedEarly: number
  readonly pending: number
  readonly errors: number
  readonly why: Readonly<Record<string, number>>
  readonly p50: number
  readonly p99: number
}

export interface Job {
  readonly kind: 'rate' | 'closed' | 'abort' | 'hold' | 'release' | 'inflight'
  readonly port?: number
  readonly path?: string
  readonly many?: number
  readonly conns?: number
  readonly rate?: number
  readonly ms?: number
  readonly count?: number
  readonly ramp?: number
  readonly body?: number
  readonly close?: boolean
  readonly leave?: number
}

export interface Generator {
  /** Where its upstream listens. */
  readonly port: number
  run(job: Job): Promise<Result>
  storm(job: Omit<Job, 'kind'>): Promise<StormResult>
  inFlight(): Promise<number>
  release(): Promise<void>
  stop(): Promise<void>
}

export async function startGenerator(argv: readonly string[]): Promise<Generator> {
  const started: Started = start({ name: 'load', argv, core: LOAD_CORE, stdin: 'pipe', stdout: 'pipe' })
  const { stdin, stdout } = started.child
  if (stdin === null || stdout === null) throw new Error('the load generator has no pipes')
  const waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>()
  let ready: (port: number) => void = () => {}
  let failed: (error: Error) => void = () => {}
  const listening = new Promise<number>((resolve, reject) => {
    ready = resolve
    failed = reject
  })
  createInterface({ input: stdout }).on('line', line => {
    const answer = JSON.parse(line) as { id?: number; port?: number }
    if (answer.port !== undefined) ready(answer.port)
    const job = waiting.get(answer.id ?? 0)
    waiting.delete(answer.id ?? 0)
    job?.resolve(answer)
  })
  started.child.once('exit', () => {
    const error = new Error(`the load generator ended: ${started.complaints()}`)
    failed(error)
    for (const job of waiting.values()) job.reject(error)
  })
  stdin.on('error', () => {})
  const port = await listening
  let id = 0
  const ask = <T>(job: Job): Promise<T> => {
    id++
    stdin.write(`${JSON.stringify({ ...job, id })}\n`)
    const expected = (job.ms ?? 0) + (job.ramp ?? 0) + 130_000
    return new Promise<T>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the load generator never finished a ${job.kind} job`)), expected)
      waiting.set(id, {
        resolve: answer => {
          clearTimeout(late)
          resolve(answer as T)
        },
        reject: error => {
          clearTimeout(late)
          reject(error)
        },
      })
    })
  }
  return {
    port,
    run: job => ask<Result>(job),
    storm: job => ask<StormResult>({ ...job, kind: 'abort' }),
    inFlight: async () => (await ask<{ inflight: number }>({ kind: 'inflight' })).inflight,
    release: async () => {
      await ask({ kind: 'release' })
    },
    stop: () => stop(started),
  }
}

export const hasWrk = which('wrk')

export interface Saturation {
  readonly port: number
  readonly path: string
  readonly ms: number
  readonly conns: number
  readonly body?: number
  readonly close?: boolean
}

/**
 * As many requests as the proxy can take: wrk, or the bundled generator; always the latter without keep-alive, as wrk
 * counts errors where a proxy passes on its upstream's `Connection: keep-alive` and then closes.
 */
export async function saturate(generator: Generator, load: Saturation, scripts: string): Promise<Result> {
  const whole = load.ms % 1000 === 0
  if (!hasWrk || !whole || load.close === true) return generator.run({ kind: 'closed', ...load })
  const url = `http://127.0.0.1:${load.port}${load.path}`
  const flags = [
    ...['-t1', `-c${load.conns}`, `-d${load.ms / 1000}s`, '--latency', '--timeout', '5s'],
    ...(load.body === undefined ? [] : ['-s', `${scripts}/post.lua`]),
    url,
  ]
  const [file = '', ...args] = [...(canPin ? ['taskset', '-c', String(LOAD_CORE)] : []), 'wrk', ...flags]
  const output = await new Promise<string>((resolve, reject) => {
    execFile(file, args, { timeout: load.ms + 15_000, killSignal: 'SIGKILL' }, (error, stdout) => {
      if (error !== null) reject(new Error(`wrk: ${error.message}`))
      else resolve(stdout)
    })
  })
  return readWrk(output)
}

function readWrk(output: string): Result {
  const [, requests = '0', seconds = '0', unit] = /(\d+) requests in ([\d.]+)(m?s|m)/.exec(output) ?? []
  const [, connect = 0, read = 0, write = 0, timeout = 0] =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output)?.map(Number) ?? []
  const non2xx = Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0)
  const why = { connect, read, write, timeout }
  return {
    ok: Number(requests) - non2xx,
    non2xx,
    errors: connect + read + write + timeout,
    why: Object.fromEntries(Object.entries(why).filter(([, count]) => count > 0)),
    seconds: Number(seconds) * (unit === 'm' ? 60 : 1),
    p50: micros(/50%\s+([\d.]+)(us|ms|s)/.exec(output)),
    p99: micros(/99%\s+([\d.]+)(us|ms|s)/.exec(output)),
  }
}

function micros(match: RegExpExecArray | null): number {
  const [, value = '0', unit] = match ?? []
  return Number(value) * (unit === 's' ? 1e6 : unit === 'ms' ? 1e3 : 1)
}
