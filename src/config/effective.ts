/** The timeouts that really hold for a route: for `check`, the admin page `/-/routes` and the metrics. */
import type { ListenConfig, Origin, RouteConfig, Sourced } from './config.ts'
import type { DurationName, WebSocketTimeoutName } from './timeouts.ts'

export interface EffectiveTimeout {
  readonly name: DurationName | WebSocketTimeoutName
  /** Infinity: off. */
  readonly ms: number
  readonly origin: Origin
  /** True where the route's `request` deadline is not longer, so that it fires in this one's stead. */
  readonly covered: boolean
}

/** All ten, client hop first, and those of `websocket` where the route has it. */
export function effectiveTimeouts(route: RouteConfig, listen: ListenConfig): readonly EffectiveTimeout[] {
  const { request, queue, connect, requestWrite, responseHeaders, bodyIdle } = route.timeouts
  const stage = (name: DurationName, { value, origin }: Sourced<number>): EffectiveTimeout => {
    return { name, ms: value, origin, covered: Number.isFinite(value) && value >= request.value }
  }
  return [
    ...listenTimeoutsOf(listen),
    stage('queue', queue),
    stage('connect', connect),
    stage('request_write', requestWrite),
    stage('response_headers', responseHeaders),
    stage('body_idle', bodyIdle),
    { name: 'request', ms: request.value, origin: request.origin, covered: false },
    ...websocketTimeoutsOf(route),
  ]
}

/** No `request` deadline covers them: it ends with the handshake. */
export function websocketTimeoutsOf({ websocket }: RouteConfig): readonly EffectiveTimeout[] {
  if (websocket === null) return []
  const of = (name: WebSocketTimeoutName, { value, origin }: Sourced<number>): EffectiveTimeout => {
    return { name, ms: value, origin, covered: false }
  }
  const both = [
    of('websocket.idle_timeout', websocket.idleTimeout),
    of('websocket.max_lifetime', websocket.maxLifetime),
  ]
  return websocket.mode === 'tunnel' ? both : [...both, of('websocket.ping_interval', websocket.pingInterval)]
}

/** The four of the client hop, which all routes share. No deadline of a route covers them. */
export function listenTimeoutsOf({ timeouts }: ListenConfig): readonly EffectiveTimeout[] {
  const clientHop = (name: DurationName, { value, origin }: Sourced<number>): EffectiveTimeout => {
    return { name, ms: value, origin, covered: false }
  }
  return [
    clientHop('listen.timeouts.headers', timeouts.headers),
    clientHop('listen.timeouts.body_idle', timeouts.bodyIdle),
    clientHop('listen.timeouts.write_idle', timeouts.writeIdle),
    clientHop('listen.timeouts.keepalive', timeouts.keepalive),
  ]
}
