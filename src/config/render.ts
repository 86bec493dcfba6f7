/** What `hopgate check` prints for a configuration without errors. */
import type { Config, ConfigIssue, ListenConfig, RouteConfig } from './config.ts'
import { formatDuration } from './duration.ts'
import { type EffectiveTimeout, effectiveTimeouts, listenTimeoutsOf } from './effective.ts'
import { formatSize } from './size.ts'

/** Several lines, each ended by a newline. */
export function renderEffective(config: Config): string {
  const { listen, routes } = config
  const blocks = [renderListen(listen), ...routes.map(route => renderRoute(route, listen))]
  if (config.warnings.length > 0) {
    blocks.push(['warnings', ...config.warnings.map(warning => `  ${renderIssue(warning)}`)].join('\n'))
  }
  return `${blocks.join('\n\n')}\n`
}

/** `path: what is wrong (got X, allowed Y)`, with the file's name where it is known: ` [hopgate.yaml:12:5]`. */
export function renderIssue({ path, line, column, message }: ConfigIssue, file?: string): string {
  return file === undefined ? `${path}: ${message} [line ${line}]` : `${path}: ${message} [${file}:${line}:${column}]`
}

function renderListen(listen: ListenConfig): string {
  const { host, port } = listen.address
  const rate = listen.minBodyRate
  const rows = listenTimeoutsOf(listen).map(timeout => timeoutRow(timeout, null))
  const minimum =
    rate === null
      ? ['listen.min_body_rate', 'off', '', '']
      : ['listen.min_body_rate', `${formatSize(rate.bytesPerSecond)}/s`, `after ${formatDuration(rate.graceMs)}`, '']
  return [`listen ${host.includes(':') ? `[${host}]` : host}:${port}`, ...align([...rows, minimum])].join('\n')
}

function renderRoute(route: RouteConfig, listen: ListenConfig): string {
  const { match } = route
  const which = [
    `${match.kind === 'exact' ? 'path' : 'path_prefix'} ${match.path}`,
    ...(match.host === null ? [] : [`host ${match.host}`]),
    ...(match.methods === null ? [] : [match.methods.join(' ')]),
  ].join(', ')
  const title = `route ${route.name}: ${which} -> upstream ${route.upstream}${route.streaming ? ' (streaming)' : ''}${route.websocket === null ? '' : ` (websocket: ${route.websocket.mode})`}`
  const timeouts = effectiveTimeouts(route, listen).filter(({ name }) => !name.startsWith('listen.'))
  const { bodyBytes, inFlight } = route.limits
  return [
    title,
    ...align([
      ...timeouts.map(timeout => timeoutRow(timeout, route)),
      ['on_client_abort', route.onClientAbort.value, route.onClientAbort.origin, ''],
      ['limits.body', formatSize(bodyBytes.value), bodyBytes.origin, ''],
      ['limits.in_flight', String(inFlight.value), inFlight.origin, ''],
    ]),
  ].join('\n')
}

function timeoutRow({ name, ms, origin, covered }: EffectiveTimeout, route: RouteConfig | null): readonly string[] {
  const mark = covered && route !== null ? `covered by request ${formatDuration(route.timeouts.request.value)}` : ''
  return [name, formatDuration(ms), origin, mark]
}

function align(rows: readonly (readonly string[])[]): readonly string[] {
  const width = (column: number) => Math.max(...rows.map(row => row[column]?.length ?? 0))
  const widths = [0, 1, 2].map(width)
  return rows.map(row => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd())
}
