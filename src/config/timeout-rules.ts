/** Timeouts that can never fire (errors), and settings that are legal but probably not meant (warnings). */
import type { Config, RouteConfig } from './config.ts'
import { formatDuration } from './duration.ts'
import { type Level, levelsOf } from './resolve.ts'
import { routeTimeouts, type WrittenTimeouts } from './route-schema.ts'
import type { Written } from './schema.ts'
import { locate, type Report, type SourceNode } from './source.ts'

type StageTimeout = Exclude<keyof WrittenTimeouts, 'request'>
const STAGE_TIMEOUTS = [
  'queue',
  'connect',
  'request_write',
  'response_headers',
  'body_idle',
] as const satisfies readonly StageTimeout[]

/**
 * A stage timeout that is written beside, or more specifically than, a `request` deadline that is not longer. One that is
 * inherited may be covered: `off` and streaming routes aside, it then simply does nothing on that route.
 */
export function checkNeverFires(written: Written, root: SourceNode, report: Report): void {
  const alone: readonly Level[] = [
    { ...written.defaults, origin: 'defaults' },
    ...written.upstreams.map(([name, upstream]) => ({ ...upstream, origin: `upstreams.${name}` })),
  ]
  for (const level of alone) if (level.timeouts.request !== undefined) checkLevels([level], root, '', report)
  written.routes.forEach((route, index) => {
    if (!route.streaming) checkLevels(levelsOf(written, route, index), root, ` on routes[${index}]`, report)
  })
}

function checkLevels(levels: readonly Level[], root: SourceNode, whose: string, report: Report): void {
  const found = levels.findIndex(level => level.timeouts.request !== undefined)
  const [origin, requestMs] =
    found === -1
      ? ['built-in', routeTimeouts.fields.request.builtInValue]
      : [levels[found]?.origin, levels[found]?.timeouts.request]
  if (requestMs === undefined) return
  const atLeastAsSpecific = found === -1 ? levels : levels.slice(0, found + 1)
  for (const stage of STAGE_TIMEOUTS) {
    const level = atLeastAsSpecific.find(each => each.timeouts[stage] !== undefined)
    const stageMs = level?.timeouts[stage]
    if (level === undefined || stageMs === undefined || stageMs === Number.POSITIVE_INFINITY || stageMs < requestMs)
      continue
    const request = formatDuration(requestMs)
    const where = origin === level.origin ? 'beside it' : origin === 'built-in' ? origin : `from ${origin}`
    report(
      locate(root, ...keysOf(level.origin), 'timeouts', stage),
      `can never fire${whose}: request, ${where}, is ${request} (got ${formatDuration(stageMs)}, allowed less than ${request}, or a longer request)`,
    )
  }
}

/** Where the values of an origin are written. */
export function keysOf(origin: string): readonly (string | number)[] {
  const route = /^routes\[(\d+)\]$/.exec(origin)
  if (route !== null) return ['routes', Number(route[1])]
  return origin.startsWith('upstreams.') ? ['upstreams', origin.slice('upstreams.'.length)] : [origin]
}

export function warnAbout(config: Config, root: SourceNode, warn: Report): void {
  config.routes.forEach((route, index) => {
    const { request, queue, connect, responseHeaders } = route.timeouts
    const stages = [queue, connect, responseHeaders].map(each => each.value).filter(Number.isFinite)
    const sum = stages.reduce((total, ms) => total + ms, 0)
    if (sum <= request.value) return
    warn(
      locate(root, 'routes', index, 'timeouts'),
      `queue, connect and response_headers together exceed request, whose deadline can then fire in their stead (got ${formatDuration(sum)}, request ${formatDuration(request.value)} from ${request.origin})`,
    )
  })
  if (!isLoopback(config.admin.host)) {
    warn(
      locate(root, 'admin', 'address'),
      `the admin listener is reachable from other machines and asks for no password (got ${config.admin.host}, safe are 127.0.0.1, [::1], localhost)`,
    )
  }
  const longest = longestRequest(config.routes)
  if (longest !== null && config.drain.deadlineMs < longest.timeouts.request.value) {
    warn(
      locate(root, 'drain', 'deadline'),
      `shorter than the request deadline of route ${longest.name}, whose exchanges a drain may cut (got ${formatDuration(config.drain.deadlineMs)}, request ${formatDuration(longest.timeouts.request.value)})`,
    )
  }
  config.upstreams.forEach(upstream => {
    if (config.routes.every(route => route.upstream !== upstream.name)) {
      warn(locate(root, 'upstreams', upstream.name), 'no route uses this upstream')
    }
    if (!upstream.tls.verify && upstream.endpoints.some(endpoint => endpoint.tls)) {
      warn(
        locate(root, 'upstreams', upstream.name, 'tls', 'verify'),
        'the certificate of this upstream is not checked: anyone in between can answer in its name (got false, safe is true)',
      )
    }
  })
}

function longestRequest(routes: readonly RouteConfig[]): RouteConfig | null {
  let longest: RouteConfig | null = null
  for (const route of routes) {
    const ms = route.timeouts.request.value
    if (Number.isFinite(ms) && ms > (longest?.timeouts.request.value ?? 0)) longest = route
  }
  return longest
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
