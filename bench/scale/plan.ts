/** What is compared: ways to give N gateways their settings, and what is read off a simulated stall. */
import { type History, type Settings, type Simulated, simulate, type World } from './simulate.ts'

export const REPLICAS = [1, 3, 10, 30, 100, 300, 1000] as const

/** What one gateway would be given for this backend: four connections for each of its workers, and twice that waiting. */
const SLOTS = 128
const QUEUE = 256
const TIMEOUTS = { queueTimeout: 0.5, responseHeaders: 2, request: 4 }

/** 32 workers of 40 ms: 800 requests a second, of which 500 are asked for. */
const WORLD: Omit<World, 'replicas' | 'settings'> = {
  rate: 500,
  patience: 10,
  workers: 32,
  work: 0.04,
  stall: [10, 30],
  end: 90,
  seed: 1,
}

/**
 * A share of what all may have, with the room that random arrivals need: two standard deviations of a Poisson number.
 * Without it a small share is full now and then while others are idle.
 */
export function share(total: number, replicas: number): number {
  const mean = total / replicas
  return Math.ceil(mean + 2 * Math.sqrt(mean))
}

export interface Way {
  readonly name: string
  readonly says: string
  readonly settings: (replicas: number) => Settings
}

export const WAYS: readonly Way[] = [
  {
    name: 'copied',
    says: `every gateway has max_connections ${SLOTS} and queue ${QUEUE}, however many they are`,
    settings: () => ({ slots: SLOTS, queue: QUEUE, ...TIMEOUTS }),
  },
  {
    name: 'divided',
    says: `${SLOTS} and ${QUEUE} divided by the number of gateways, at least 1`,
    settings: n => ({ slots: Math.ceil(SLOTS / n), queue: Math.ceil(QUEUE / n), ...TIMEOUTS }),
  },
  {
    name: 'shared',
    says: 'divided, plus two standard deviations: mean + 2 sqrt(mean), rounded up',
    settings: n => ({ slots: share(SLOTS, n), queue: share(QUEUE, n), ...TIMEOUTS }),
  },
  {
    name: 'patient',
    says: 'as shared, with timeouts that outlast the callers: queue 30s, response_headers and request 60s; callers leave after 10 s',
    settings: n => ({
      slots: share(SLOTS, n),
      queue: share(QUEUE, n),
      queueTimeout: 30,
      responseHeaders: 60,
      request: 60,
    }),
  },
]

export interface Reading {
  readonly replicas: number
  readonly way: string
  readonly slots: number
  readonly queue: number
  readonly connections: number
  /** Shares of those who came before the stall, and within it. */
  readonly refusedWhenWell: number
  readonly unavailable: number
  readonly timedOut: number
  readonly left: number
  /** Seconds that callers waited for a failure in the stall: the median, and what one in a hundred exceeds. */
  readonly failedAfter: readonly [median: number, p99: number]
  readonly forNobody: number
  /** Seconds from the end of the stall until 99 % of a second's callers are served again; Infinity: not by the end. */
  readonly recovery: number
}

export function measure(way: Way, replicas: number): Reading {
  const settings = way.settings(replicas)
  const world = { ...WORLD, replicas, settings }
  return read(way.name, world, simulate(world))
}

function read(way: string, world: World, history: History): Reading {
  const [from, to] = world.stall
  const { slots, queue } = world.settings
  const well = history.ended.filter(({ arrived }) => arrived < from - world.patience / 2)
  const stalled = history.ended.filter(({ arrived }) => arrived >= from && arrived < to)
  const failed = stalled
    .filter(({ outcome }) => outcome !== 'completed')
    .map(({ arrived, ended }) => ended - arrived)
    .sort((a, b) => a - b)
  const quantile = (q: number): number => failed[Math.floor(q * failed.length)] ?? 0
  const portion = (of: History['ended'], ...outcomes: readonly Simulated[]): number =>
    of.filter(({ outcome }) => outcomes.includes(outcome)).length / of.length
  return {
    replicas: world.replicas,
    way,
    slots,
    queue,
    connections: history.mostConnections,
    refusedWhenWell: portion(well, 'queue_full', 'queue_timeout'),
    unavailable: portion(stalled, 'queue_full', 'queue_timeout'),
    timedOut: portion(stalled, 'response_headers_timeout', 'deadline_exceeded'),
    left: portion(stalled, 'client_abort'),
    failedAfter: [quantile(0.5), quantile(0.99)],
    forNobody: history.backlogForNobody,
    recovery: recoveryOf(world, history),
  }
}

/** The first second after the stall from which on, for five seconds, 99 % of those who come are served. */
function recoveryOf({ stall: [, to], end }: World, { ended }: History): number {
  const came = new Map<number, { all: number; served: number }>()
  for (const { arrived, outcome } of ended) {
    const second = Math.floor(arrived - to)
    const counts = came.get(second) ?? { all: 0, served: 0 }
    counts.all++
    if (outcome === 'completed') counts.served++
    came.set(second, counts)
  }
  const isWell = (second: number): boolean => {
    const { all, served } = came.get(second) ?? { all: 0, served: 0 }
    return all > 0 && served / all >= 0.99
  }
  for (let second = 0; second + 5 <= end - to; second++) {
    if ([0, 1, 2, 3, 4].every(more => isWell(second + more))) return second
  }
  return Number.POSITIVE_INFINITY
}

export const HEADER = `| gateways | slots, queue of each | connections at the backend | 503 when well | in the stall: 503 / 504 / 499 | failure after: median, p99 | backlog for nobody | well again after |
|---|---|---|---|---|---|---|---|`

const percent = (x: number): string => `${(x * 100).toFixed(1)} %`

export function row(reading: Reading): string {
  const { replicas, slots, queue, connections, refusedWhenWell, unavailable, timedOut, left } = reading
  const recovery = Number.isFinite(reading.recovery) ? `${reading.recovery} s` : 'not within 60 s'
  const shares = [unavailable, timedOut, left].map(percent).join(' / ')
  const failedAfter = reading.failedAfter.map(seconds => `${seconds.toFixed(1)} s`).join(', ')
  return `| ${replicas} | ${slots}, ${queue} | ${connections} | ${percent(refusedWhenWell)} | ${shares} | ${failedAfter} | ${reading.forNobody} | ${recovery} |`
}
