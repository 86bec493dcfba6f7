/**
 * Where recent requests were led: which route a method and a path belong to never changes, and to find it Fastify makes
 * a request, a reply and their contexts, of which a gateway needs none.
 */

/** Paths that are remembered; when there are more, all are forgotten: a gateway for many paths would remember in vain. */
const MOST = 1024
const LONGEST = 256

export class RouteMemo<Route> {
  /** By method; the query string leads nowhere. */
  readonly #routes = new Map<string, Map<string, Route>>()
  #size = 0

  find(method: string, url: string): Route | undefined {
    return this.#routes.get(method)?.get(pathOf(url))
  }

  remember(method: string, url: string, route: Route): void {
    if (url.length > LONGEST) return
    if (this.#size++ >= MOST) {
      this.#routes.clear()
      this.#size = 1
    }
    let paths = this.#routes.get(method)
    if (paths === undefined) {
      paths = new Map()
      this.#routes.set(method, paths)
    }
    paths.set(pathOf(url), route)
  }
}

function pathOf(url: string): string {
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}
