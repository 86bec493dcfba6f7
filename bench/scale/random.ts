/** Random numbers that are the same on every machine and in every run. */
export type Random = () => number

/** mulberry32: 32 bits of state, uniform in [0, 1); good enough for arrivals and service times. */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** With this mean. */
export function exponential(random: Random, mean: number): number {
  return -Math.log(1 - random()) * mean
}
