/** A request on its way from the listener to its route. */
import { type IncomingMessage, METHODS } from 'node:http'
import type { Refusal } from './refusal.ts'

/** What the door knows of a request; carried to the route on the request itself. */
export interface Arrival {
  target: string
  expectsContinue: boolean
  /** The path has a `%2F`. */
  encodedSlash: boolean
  /** The tree of routes it is looked up in: a host's, or the general one. */
  hostTree: boolean
  /** What came behind the head of a request for WebSocket; undefined: it is none. */
  upgradeHead: Buffer | undefined
}
export const ARRIVAL = Symbol('hopgate.arrival')
export type Arrived = IncomingMessage & { [ARRIVAL]: Arrival }

/** Every method that can be routed. CONNECT and TRACE are answered 405: the one tunnels, the other reflects headers. */
export const ROUTABLE = METHODS.filter(method => method !== 'CONNECT' && method !== 'TRACE')

export const NO_SUCH_PATH: Refusal = { outcome: 'no_route', stage: 'route' }

/** A path prefix no request can have: the root of the routes of one host. Normalised targets hold no control bytes. */
export function treeOf(host: string): string {
  return `/\u0001${host}`
}
