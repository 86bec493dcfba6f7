/** What a running hopgate has seen, out of the text of its `/metrics`. */

/** The ages at which the clients of a route left. */
export interface Patience {
  /** Upper bound in seconds (Infinity: the last) and how many were at or below it; ascending. */
  readonly buckets: readonly (readonly [upToSeconds: number, cumulative: number])[]
  readonly count: number
}

export interface Connections {
  /** Connections dialled for exchanges. */
  readonly opened: number
  /** Closed by the upstream while they were idle, so before our own keep-alive had passed. */
  readonly idleCloses: number
  /** Exchanges that failed because they met such a close. */
  readonly stale: number
}

export interface Traffic {
  /** By route. */
  readonly patience: ReadonlyMap<string, Patience>
  /** By upstream. */
  readonly connections: ReadonlyMap<string, Connections>
}

/** Null where the text is not that of a hopgate. */
export function readTraffic(text: string): Traffic | null {
  const buckets = new Map<string, [number, number][]>()
  const connections = new Map<string, { opened: number; idleCloses: number; stale: number }>()
  const of = (upstream: string) => {
    const found = connections.get(upstream) ?? { opened: 0, idleCloses: 0, stale: 0 }
    connections.set(upstream, found)
    return found
  }
  let known = false
  for (const line of text.split('\n')) {
    const sample = parseSample(line)
    if (sample === null) continue
    const { name, labels, value } = sample
    const upstream = labels.get('upstream') ?? ''
    switch (name) {
      case 'hopgate_config_info':
        known = true
        break
      case 'hopgate_client_abort_age_seconds_bucket': {
        const route = labels.get('route') ?? ''
        const le = labels.get('le') ?? ''
        buckets.set(route, [...(buckets.get(route) ?? []), [le === '+Inf' ? Infinity : Number(le), value]])
        break
      }
      case 'hopgate_connection_reuse_total':
        if (labels.get('reused') === 'false') of(upstream).opened += value
        break
      case 'hopgate_upstream_idle_closes_total':
        of(upstream).idleCloses += value
        break
      case 'hopgate_failures_total':
        if (labels.get('outcome') === 'stale_connection') of(upstream).stale += value
        break
    }
  }
  if (!known) return null
  const patience = new Map(
    [...buckets].map(([route, all]) => {
      const sorted = all.sort(([a], [b]) => a - b)
      return [route, { buckets: sorted, count: sorted.at(-1)?.[1] ?? 0 }]
    }),
  )
  return { patience, connections }
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g

/** A line of the Prometheus text format 0.0.4. */
function parseSample(line: string): {
  readonly name: string
  readonly labels: ReadonlyMap<string, string>
  readonly value: number
} | null {
  if (!line.startsWith('hopgate_')) return null
  const [, name = '', inner = '', digits = ''] = SAMPLE.exec(line) ?? []
  const value = Number(digits)
  if (name === '' || Number.isNaN(value)) return null
  const labels = [...inner.matchAll(LABEL)].map(
    ([, key = '', text = '']) => [key, text.replaceAll(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : char))] as const,
  )
  return { name, labels: new Map(labels), value }
}
