/** How long and how often. */
export const WORKLOAD_IDS: readonly string[] = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7', 'W8']

export interface Plan {
  readonly quick: boolean
  /** Requests; a twelfth of it after W1. */
  readonly warmUp: number
  /** Rounds of W1 to W4 before those that count: one ends with requests in flight, and what V8 had not seen makes it compile anew. */
  readonly unseen: number
  readonly throughput: Readonly<Record<string, { rounds: number; ms: number }>>
  readonly latency: { readonly rounds: number; readonly ms: number }
  readonly inFlightMs: number
  readonly storm: { readonly warmMs: number; readonly hopgateMs: number; readonly peerMs: number }
  readonly isolation: { readonly pairs: number; readonly peerPairs: number; readonly ms: number }
  readonly routes: { readonly rounds: number; readonly peerRounds: number }
  /** Who takes part in W5 to W8, which start every proxy anew; undefined: all without a log, and hopgate. */
  readonly few: readonly string[] | undefined
}

export const THOROUGH: Plan = {
  quick: false,
  warmUp: 45_000,
  unseen: 1,
  // Short ones, and many: a busy machine slows some of them, and both of a pair.
  throughput: {
    W1: { rounds: 8, ms: 1000 },
    W2: { rounds: 6, ms: 1000 },
    W3: { rounds: 5, ms: 1000 },
    W4: { rounds: 6, ms: 1000 },
  },
  latency: { rounds: 3, ms: 800 },
  inFlightMs: 4000,
  storm: { warmMs: 1500, hopgateMs: 60_000, peerMs: 3000 },
  isolation: { pairs: 7, peerPairs: 1, ms: 1000 },
  routes: { rounds: 9, peerRounds: 1 },
  few: undefined,
}

export const QUICK: Plan = {
  quick: true,
  warmUp: 15_000,
  unseen: 0,
  throughput: {
    W1: { rounds: 1, ms: 1000 },
    W2: { rounds: 1, ms: 1000 },
    W3: { rounds: 1, ms: 1000 },
    W4: { rounds: 1, ms: 1000 },
  },
  latency: { rounds: 1, ms: 500 },
  inFlightMs: 3500,
  storm: { warmMs: 1000, hopgateMs: 6000, peerMs: 2000 },
  isolation: { pairs: 1, peerPairs: 1, ms: 1000 },
  routes: { rounds: 2, peerRounds: 2 },
  few: ['hopgate', '@fastify/http-proxy'],
}
