/** How long and how often. */
export const WORKLOAD_IDS: readonly string[] = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7', 'W8']

export interface Plan {
  readonly quick: boolean
  /** Requests; a tenth of it after W1. */
  readonly warmUp: number
  readonly throughput: Readonly<Record<string, { rounds: number; ms: number }>>
  readonly latency: { readonly rounds: number; readonly ms: number }
  readonly inFlightMs: number
  readonly storm: { readonly warmMs: number; readonly hopgateMs: number; readonly peerMs: number }
  readonly isolation: { readonly pairs: number; readonly ms: number }
  readonly routeRounds: number
  /** Who takes part in W5 to W8, which start every proxy anew; undefined: all without a log, and hopgate. */
  readonly few: readonly string[] | undefined
}

export const THOROUGH: Plan = {
  quick: false,
  warmUp: 40_000,
  throughput: {
    W1: { rounds: 5, ms: 2000 },
    W2: { rounds: 3, ms: 2000 },
    W3: { rounds: 3, ms: 2000 },
    W4: { rounds: 3, ms: 2000 },
  },
  latency: { rounds: 3, ms: 1500 },
  inFlightMs: 4500,
  storm: { warmMs: 3000, hopgateMs: 60_000, peerMs: 4000 },
  isolation: { pairs: 3, ms: 1200 },
  routeRounds: 7,
  few: undefined,
}

export const QUICK: Plan = {
  quick: true,
  warmUp: 15_000,
  throughput: {
    W1: { rounds: 1, ms: 1000 },
    W2: { rounds: 1, ms: 1000 },
    W3: { rounds: 1, ms: 1000 },
    W4: { rounds: 1, ms: 1000 },
  },
  latency: { rounds: 1, ms: 500 },
  inFlightMs: 3500,
  storm: { warmMs: 1000, hopgateMs: 6000, peerMs: 2000 },
  isolation: { pairs: 1, ms: 1000 },
  routeRounds: 2,
  few: ['hopgate', '@fastify/http-proxy'],
}
