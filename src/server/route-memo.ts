/**
 * Where recent requests were led: which route a method and a path belong to never changes, and to find it Fastify makes
 * a request, a reply and their contexts, of which a gateway needs none.
 */

/** Paths that are remembered; when there are more, all are forgotten: a gateway for many paths would remember in vain. */
const MOST = 1024
const LONGEST = 256

export class RouteMemo<Route> {
  readonly #routes = new Map<string, Route>()

  find(method: string, url: string): Route | undefined {
    return this.#routes.get(key(method, url))
  }

  remember(method: string, url: string, route: Route): void {
    if (url.length > LONGEST) return
    if (this.#routes.size >= MOST) this.#routes.clear()
    this.#routes.set(key(method, url), route)
  }
}

/** No method has a space (RFC 9110 section 9.1), and the query string leads nowhere. */
function key(method: string, url: string): string {
  const query = url.indexOf('?')
  return `${method} ${query === -1 ? url : url.slice(0, query)}`
}
