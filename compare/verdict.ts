/** How a case is judged: from outside only. What the client saw and when, and when the upstream's socket was closed. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Upstream } from '../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../src/prove/raw-client.ts'
import type { RawRequest } from '../src/prove/raw-request.ts'
import type { RawResponse } from '../src/prove/raw-response.ts'
import { readSocketTable, type SocketEnds, type SocketRow } from '../src/prove/socket-table.ts'
import { EARLY_MS, LATE_MS, PATIENCE_MS } from './timeouts.ts'

/** Where a case meets one proxy. */
export interface Bench {
  readonly port: number
  /** Routed to `upstream`. */
  readonly path: string
  readonly upstream: Upstream
}

export interface Verdict {
  /** What was seen, in few words. */
  readonly seen: string
  /** What is wrong with it; nothing when right. */
  readonly wrong: readonly string[]
}

export interface Asked {
  readonly client: RawClient
  /** Undefined: nothing ended it within the patience. */
  readonly response: RawResponse | undefined
  readonly sentAt: number
  readonly doneAt: number
}

export const ms = (time: number): string => (time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`)

export function request(bench: Bench, more: RawRequest = {}): RawRequest {
  return { path: bench.path, headers: [['Host', 'localhost']], ...more }
}

export async function open(bench: Bench): Promise<RawClient> {
  return openClient(bench.port, { timeoutMs: PATIENCE_MS })
}

/** One request, and how it ended. The connection is left open: who asked closes it. */
export async function ask(bench: Bench, more: RawRequest = {}, on?: RawClient): Promise<Asked> {
  const client = on ?? (await open(bench))
  const sentAt = performance.now()
  const response = await client.request(request(bench, more)).response.catch(() => undefined)
  return { client, response, sentAt, doneAt: response?.doneAt ?? performance.now() }
}

function describe({ response, sentAt, doneAt }: Asked): string {
  if (response === undefined) return `nothing within ${ms(PATIENCE_MS)}`
  const after = ` after ${ms(doneAt - sentAt)}`
  if (response.malformed !== undefined) return `no HTTP${after}`
  if (response.status === 0) return `closed without an answer${after}`
  return `${response.status}${response.complete ? '' : ' cut'}${after}`
}

export interface Due {
  readonly ms: number
  readonly lateMs?: number
  readonly earlyMs?: number
}

/** A duration that should be `expectedMs`. */
export function onTime(actualMs: number, expectedMs: number, lateMs = LATE_MS, earlyMs = EARLY_MS): string[] {
  if (actualMs < expectedMs - earlyMs) return [`${ms(expectedMs - actualMs)} early`]
  if (actualMs > expectedMs + lateMs) return [`${ms(actualMs - expectedMs)} late`]
  return []
}

/** 502, 503 and 504 are all called right: HAProxy has 503 for a refused dial, and RFC 9110 leaves it the choice. */
export function failed(asked: Asked, at: Due): Verdict {
  const { response, sentAt, doneAt } = asked
  const wrong: string[] = []
  if (response === undefined) wrong.push('the client waits on')
  else if (response.status === 0) wrong.push('no answer')
  else if (![502, 503, 504].includes(response.status)) wrong.push(`status ${response.status}`)
  else if (!response.complete) wrong.push('the answer is cut')
  if (response !== undefined) wrong.push(...onTime(doneAt - sentAt, at.ms, at.lateMs, at.earlyMs))
  return { seen: describe(asked), wrong }
}

/** The head was sent on; what follows has to end in a way the client can see. */
export function cut(asked: Asked, due: Due, from: 'head' | 'request' = 'head'): Verdict {
  const { response, doneAt } = asked
  const wrong: string[] = []
  if (response === undefined) wrong.push('the client waits on')
  else if (response.complete && response.status < 500) wrong.push('looks complete')
  if (response !== undefined) {
    const since = from === 'head' ? (response.headersAt ?? asked.sentAt) : asked.sentAt
    wrong.push(...onTime(doneAt - since, due.ms, due.lateMs))
  }
  return { seen: describe(asked), wrong }
}

/** Nothing is wrong with this one: it must pass. */
export function whole(asked: Asked, status: number, bodyBytes: number): Verdict {
  const { response } = asked
  const wrong: string[] = []
  if (response === undefined) wrong.push('the client waits on')
  else if (response.status !== status) wrong.push(`status ${response.status}`)
  else if (!response.complete) wrong.push('cut')
  else if (response.body.length !== bodyBytes) wrong.push(`${response.body.length} of ${bodyBytes} bytes`)
  return { seen: describe(asked), wrong }
}

const CLOSED = ['FIN_WAIT1', 'FIN_WAIT2', 'TIME_WAIT', 'CLOSING', 'LAST_ACK', 'CLOSE']

let reading: Promise<readonly SocketRow[]> | undefined

/** One read of the kernel's table for all who want one now: each costs ms, and all cases run in this process. */
function socketTable(): Promise<readonly SocketRow[]> {
  reading ??= readSocketTable().finally(() => {
    reading = undefined
  })
  return reading
}

/**
 * Resolves when the proxy has closed its end of a connection, `performance.now()` ms: seen by the other end, or in the
 * kernel's table. A FIN behind bytes that nobody reads is seen by nobody else, and closed the proxy has all the same.
 */
export async function proxyCloses(theirs: SocketEnds, ended: () => number | undefined): Promise<number | undefined> {
  const until = performance.now() + PATIENCE_MS
  let isKnown = false
  for (let missed = 0; performance.now() < until; ) {
    const at = ended()
    if (at !== undefined) return at
    const asked = performance.now()
    const row = (await socketTable()).find(
      ({ localPort, remotePort }) => localPort === theirs.localPort && remotePort === theirs.remotePort,
    )
    // The kernel hands the table out in pieces: a row can slip between two of them.
    isKnown ||= row !== undefined
    missed = row === undefined && isKnown ? missed + 1 : 0
    if (missed > 1 || (row !== undefined && CLOSED.includes(row.state))) return asked
    await delay(10)
  }
  return undefined
}

/** The upstream's socket has to be closed when the client was answered, or has left, at `since`. */
export async function upstreamClosed(bench: Bench, since: number, lateMs = LATE_MS): Promise<Verdict> {
  const connection = bench.upstream.connections.at(-1)
  if (connection === undefined) return { seen: 'the upstream was not reached', wrong: ['the upstream was not reached'] }
  const theirs = { localPort: connection.remotePort, remotePort: connection.localPort }
  const at = await proxyCloses(theirs, () => connection.ended?.at)
  if (at === undefined) return { seen: 'upstream left open', wrong: [`upstream still open ${ms(PATIENCE_MS)} later`] }
  const late = at - since
  const seen = `upstream closed ${late < 1 ? 'with it' : `${ms(late)} later`}`
  return { seen, wrong: late > lateMs ? [`upstream closed ${ms(late)} later`] : [] }
}

export function both(...verdicts: readonly Verdict[]): Verdict {
  return { seen: verdicts.map(({ seen }) => seen).join(', '), wrong: verdicts.flatMap(({ wrong }) => wrong) }
}
