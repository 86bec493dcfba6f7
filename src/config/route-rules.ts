/** What no single value can tell: names that must be unique or known, matches that exclude each other, files that must be there. */
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { matchPath } from './resolve.ts'
import type { WrittenRoute } from './route-schema.ts'
import type { Written } from './schema.ts'
import { child, locate, type Report, type SourceNode } from './source.ts'
import { checkWebSocket } from './websocket-schema.ts'
import { didYouMean, quote } from './words.ts'

/** One route as the rules see it; `index` counts every item of `routes`, also those that could not be read. */
export type Numbered = { readonly route: WrittenRoute; readonly index: number }

export function checkRoutes(written: Written, root: SourceNode, report: Report): void {
  const routes = written.routes.map((route, index) => ({ route, index }))
  checkNames(routes, root, report)
  checkMatches(routes, root, report)
  const upstreams = child(root, 'upstreams')
  const names = upstreams?.form === 'map' ? upstreams.entries.map(entry => entry.key) : []
  for (const { route, index } of routes) {
    if (route.upstream !== undefined && names.length > 0 && !names.includes(route.upstream)) {
      const place = locate(root, 'routes', index, 'upstream')
      report(
        place,
        `no such upstream${didYouMean(route.upstream, names)} (got ${quote(route.upstream)}, allowed ${names.join(', ')})`,
      )
    }
    checkWebSocket(route.websocket, route.match.methods, index, root, report)
    if (route.streaming && route.timeouts.request !== undefined) {
      const place = locate(root, 'routes', index, 'timeouts', 'request')
      report(
        place,
        'a streaming route has no request deadline (got request beside streaming: true, allowed one of them)',
      )
    }
  }
}

/** `neighbours.upstreams` is about upstreams of this file. */
export function checkNeighbours(root: SourceNode, report: Report): void {
  const [upstreams, neighbours] = [child(root, 'upstreams'), child(root, 'neighbours')]
  const said = neighbours === undefined ? undefined : child(neighbours, 'upstreams')
  if (upstreams?.form !== 'map' || said?.form !== 'map') return
  const names = upstreams.entries.map(entry => entry.key)
  for (const { key, keyPlace } of said.entries) {
    if (names.includes(key)) continue
    report(keyPlace, `no such upstream${didYouMean(key, names)} (got ${quote(key)}, allowed ${names.join(', ')})`)
  }
}

function checkNames(routes: readonly Numbered[], root: SourceNode, report: Report): void {
  const first = new Map<string, number>()
  for (const { route, index } of routes) {
    if (route.name === undefined) continue
    const other = first.get(route.name)
    if (other === undefined) first.set(route.name, index)
    else
      report(
        locate(root, 'routes', index, 'name'),
        `the name of routes[${other}] too (got ${quote(route.name)}, allowed a name of its own)`,
      )
  }
}

function checkMatches(routes: readonly Numbered[], root: SourceNode, report: Report): void {
  const seen: Numbered[] = []
  for (const each of routes) {
    const match = each.route.match
    const written = writtenKeys(root, each.index)
    if (written === null) continue
    const count = Number(written.includes('path')) + Number(written.includes('path_prefix'))
    if (count !== 1) {
      const got = count === 0 ? 'neither' : 'both'
      report(
        locate(root, 'routes', each.index, 'match'),
        `needs exactly one path to match (got ${got}, allowed path or path_prefix)`,
      )
      continue
    }
    if (matchPath(match) === '') continue // wrong, and reported as such
    const rival = seen.find(other => overlap(other.route, each.route))
    if (rival !== undefined) {
      report(
        locate(root, 'routes', each.index, 'match'),
        `the same requests as routes[${rival.index}] match (got ${describe(each.route)}, allowed another host, another path, or methods that do not overlap)`,
      )
    }
    seen.push(each)
  }
}

/** The keys of a route's `match`; null where the route is no mapping, which is reported elsewhere. */
function writtenKeys(root: SourceNode, index: number): readonly string[] | null {
  const routes = child(root, 'routes')
  const route = routes?.form === 'list' ? routes.items[index] : undefined
  if (route?.form !== 'map') return null
  const match = child(route, 'match')
  return match?.form === 'map' ? match.entries.map(entry => entry.key) : []
}

function overlap(a: WrittenRoute, b: WrittenRoute): boolean {
  if (a.match.host !== b.match.host || (a.match.path === undefined) !== (b.match.path === undefined)) return false
  if (matchPath(a.match) !== matchPath(b.match)) return false
  const [left, right] = [a.match.methods, b.match.methods]
  return left === null || right === null || left.some(method => right.includes(method))
}

function describe(route: WrittenRoute): string {
  const { match } = route
  const host = match.host === null ? 'any host' : `host ${match.host}`
  const methods = match.methods === null ? 'all methods' : match.methods.join(' ')
  return `${host}, ${match.path === undefined ? 'path_prefix' : 'path'} ${matchPath(match)}, ${methods}`
}

export function checkUpstreams(written: Written, root: SourceNode, baseDir: string, report: Report): void {
  for (const [name, upstream] of written.upstreams) {
    const file = upstream.tls.ca_file
    const wrong = file === null ? null : wrongCertificates(resolve(baseDir, file))
    if (wrong !== null) {
      report(
        locate(root, 'upstreams', name, 'tls', 'ca_file'),
        `${wrong} (got ${quote(file ?? '')}, allowed a readable PEM file with certificates)`,
      )
    }
  }
}

/** What is wrong with a file of certificates, or null. */
function wrongCertificates(file: string): string | null {
  try {
    if (!statSync(file).isFile()) return 'not a file' // a FIFO would make the read wait for ever
    const certificates = readFileSync(file, 'latin1').match(
      /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g,
    )
    if (certificates === null) return 'no PEM certificate in this file'
    for (const certificate of certificates) new X509Certificate(certificate)
    return null
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    return code.startsWith('ERR_') ? 'a certificate in this file cannot be parsed' : `the file cannot be read: ${code}`
  }
}
