/** What was seen of a case from outside, before anybody judges it. */
import type { Config, RouteConfig } from '../config/config.ts'
import type { TimeoutName } from '../outcome.ts'
import { nameOf, type ProveCase, subjectOf } from './case.ts'
import type { Ground } from './ground.ts'
import type { RawClient } from './raw-client.ts'
import type { RawRequest } from './raw-request.ts'
import type { RawResponse } from './raw-response.ts'
import type { UpstreamConnection } from './upstream-connection.ts'
import { patternBytes } from './wire.ts'

/** The first event of a timeout lies between these two instants, monotonic ms. */
export interface Start {
  readonly after: number
  readonly before: number
}

export interface Witness {
  /** When a timeout began, by its name; `else` for those that begin with the request. */
  readonly starts: ReadonlyMap<TimeoutName | 'else', Start>
  /** When the client, or whoever was there to see it, saw the end; undefined: there was none in time. Monotonic ms. */
  readonly endedAt: number | undefined
  readonly response?: RawResponse
  /** How the client's connection ended, where that is what it is about. */
  readonly closedBy?: 'fin' | 'rst' | 'us'
  /** When the client left. */
  readonly leftAt?: number
  /** Its leaving was to end the exchange at once. */
  readonly promptly?: boolean
  /** The upstream connections that carried the request. */
  readonly carriers: readonly UpstreamConnection[]
  /** The upstream does not read: it sees the end of its connection only in the kernel's table, some turns late. */
  readonly unread?: true
  /** The upstream was to be left to its work, and was: undefined where that is not asked. */
  readonly finished?: boolean
}

/** Told apart in the access line by the port in Host, which nobody routes by. */
export const SUBJECT_PORT = 1
const CROWD_PORT = 2
const FIRST_PORT = 3

export interface Requests {
  readonly plain: RawRequest
  readonly upload: RawRequest
  /** Those that are in the way. */
  readonly crowdPlain: RawRequest
  readonly crowdUpload: RawRequest
  /** The one before, on the same connection. */
  readonly first: RawRequest
}

export function requestsFor(config: Config, route: RouteConfig): Requests {
  const { method, bodyMethod } = subjectOf(config, route)
  const { match } = route
  const base = match.path === '/' ? '' : match.path
  const path = match.kind === 'exact' ? match.path : `${base}/hopgate-prove`
  const to = (port: number) =>
    ({ path, headers: [['Host', `${match.host ?? 'hopgate-prove.invalid'}:${port}`]] }) as const
  return {
    plain: { method, ...to(SUBJECT_PORT) },
    upload: { method: bodyMethod, ...to(SUBJECT_PORT) },
    crowdPlain: { method, ...to(CROWD_PORT) },
    crowdUpload: { method: bodyMethod, ...to(CROWD_PORT) },
    first: { method, ...to(FIRST_PORT) },
  }
}

/** How long to wait for what may never come, ms: what is expected, and a while. */
export function patienceMs(one: ProveCase): number {
  return Math.max(0, ...one.expect.map(({ afterMs }) => afterMs ?? 0)) + 2500
}

let large: Buffer | undefined

/** The first `bytes` of one buffer that all share: megabytes for each of many uploads would keep the collector busy. */
export function uploadOf(bytes: number): Buffer {
  if (large === undefined || large.length < bytes) large = patternBytes(bytes)
  return large.subarray(0, bytes)
}

export class NotProvoked extends Error {
  constructor(one: ProveCase, why: string) {
    super(`${nameOf(one)}: the fault could not be brought about: ${why}`)
  }
}

/** What a drive has to work with. */
export interface Stage {
  readonly one: ProveCase
  readonly config: Config
  readonly ground: Ground
  readonly client: RawClient
  readonly requests: Requests
  readonly patienceMs: number
  /** Without a watch for the server's end, which would cost a look at the kernel's socket table every few ms. */
  readonly stopReading: () => void
}

/** The upstream connections of the case's request; it has none where it waits behind others. */
export function carriersOf({ ground, one }: Stage): readonly UpstreamConnection[] {
  if (one.crowd !== undefined) return []
  return ground.upstreams.flatMap(({ connections }) => connections)
}

/** The connection on which the upstream has the case's request. */
export async function requestAt({ ground, one }: Stage): Promise<UpstreamConnection> {
  const arrived = (): number => ground.upstreams.reduce((sum, { requests }) => sum + requests.length, 0)
  if (!(await ground.until(() => arrived() > 0, 2000))) throw new NotProvoked(one, 'no request reached the upstream')
  const request = ground.upstreams.flatMap(({ requests }) => requests).at(-1)
  if (request === undefined) throw new NotProvoked(one, 'no request reached the upstream')
  return request.connection
}

export function withLength(request: Requests['upload'], bytes: number): Requests['upload'] {
  return { ...request, headers: [...(request.headers ?? []), ['Content-Length', String(bytes)]] }
}
