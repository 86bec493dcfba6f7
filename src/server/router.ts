/**
 * Finds the route of a request. The most specific match wins: host before no host, exact path before prefix, longer prefix
 * before shorter; a prefix matches whole segments. What is matched are the bytes that are forwarded, as `target.ts` has made
 * them plain.
 */
import type { RouteConfig } from '../config/config.ts'
import type { BoundRoute } from '../exchange/route.ts'

/** The routes of one method, for one host or for all that have none of their own. */
class Table {
  readonly #exact = new Map<string, BoundRoute>()
  readonly #prefixes = new Map<string, BoundRoute>()
  /** Of the prefixes, longest first: no path has more candidates than there are lengths. */
  #lengths: readonly number[] = []

  add(route: BoundRoute): void {
    const { kind, path } = route.config.match
    if (kind === 'exact') {
      this.#exact.set(path, route)
      return
    }
    // `/` is a prefix of everything, as the empty path is.
    this.#prefixes.set(path === '/' ? '' : path, route)
    this.#lengths = [...new Set([...this.#prefixes.keys()].map(({ length }) => length))].sort((a, b) => b - a)
  }

  find(path: string): BoundRoute | undefined {
    const exact = this.#exact.size === 0 ? undefined : this.#exact.get(path)
    if (exact !== undefined) return exact
    for (const length of this.#lengths) {
      // Only where a segment ends.
      if (length !== path.length && path[length] !== '/') continue
      const found = this.#prefixes.get(path.slice(0, length))
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** By method. */
type Methods = Map<string, Table>

export class Router {
  readonly #general: Methods = new Map()
  readonly #hosts = new Map<string, Methods>()
  readonly #routes: readonly BoundRoute[]
  readonly #routable: readonly string[]

  /** @param routable the methods of routes that take all */
  constructor(routes: readonly BoundRoute[], routable: readonly string[]) {
    this.#routes = routes
    this.#routable = routable
    for (const route of routes) {
      const { host, methods } = route.config.match
      for (const method of methods ?? routable) tableOf(this.#methodsOf(host), method).add(route)
    }
  }

  /** Whether any route asks for the host: where none does, nobody needs to know it. */
  get knowsHosts(): boolean {
    return this.#hosts.size > 0
  }

  /** @param hostname in lower case, without port */
  find(method: string, hostname: string, path: string): BoundRoute | undefined {
    const own = this.#hosts.size === 0 ? undefined : this.#hosts.get(hostname)
    return own?.get(method)?.find(path) ?? this.#general.get(method)?.find(path)
  }

  /** The methods with which some route would take this path. */
  methodsFor(hostname: string, path: string): string[] {
    const matching = this.#routes.filter(({ config: { match } }) => matches(match, hostname, path))
    return [...new Set(matching.flatMap(({ config }) => config.match.methods ?? this.#routable))]
  }

  #methodsOf(host: string | null): Methods {
    if (host === null) return this.#general
    const methods = this.#hosts.get(host) ?? new Map()
    this.#hosts.set(host, methods)
    return methods
  }
}

function tableOf(methods: Methods, method: string): Table {
  const table = methods.get(method) ?? new Table()
  methods.set(method, table)
  return table
}

function matches({ host, kind, path }: RouteConfig['match'], hostname: string, asked: string): boolean {
  if (host !== null && host !== hostname) return false
  return asked === path || (kind === 'prefix' && (path === '/' || asked.startsWith(`${path}/`)))
}
