/**
 * What a field of milliseconds holds before there are any. A number with a fraction from V8's point of view, as those that
 * come are. Where it is a whole one (0, -1), the first fraction that is stored there (the age of the first client that
 * leaves, the instant of the first connection that is killed) gives every object of the class another hidden class, and all
 * that was compiled for the old one is thrown away: the next seconds of traffic took 60 to 95 us a request in the place of 40
 * (measured: docs/benchmarks.md).
 */
export const NEVER = -Infinity
