/** What is asked of V8 for the life of a gateway: that what happened to a process once does not make it slow for good. */
import { executionAsyncResource } from 'node:async_hooks'
import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'

/** To be called once, before the gateway starts. */
export function prepareEngine(): void {
  for (const flag of engineFlags(availableParallelism())) setFlagsFromString(flag)
  keepTickShape()
  keepAllocating()
}

/** @param cores that the process may run on */
export function engineFlags(cores: number): readonly string[] {
  return [KEEP_YOUNG_GENERATION, KEEP_GARBAGE_YOUNG, ...(cores === 1 ? [COLLECT_IN_STEPS] : [])]
}

/**
 * V8 shrinks the young generation of a process that has been idle for some seconds, and lets it grow again by what
 * survives, which in a gateway is next to nothing: every burst after a pause is then collected five times as often
 * (measured: 256 KB responses 160 us before a pause of 20 s and 306 us after it, for good; 113 us without the shrinking).
 * What an idle process keeps for it is bounded by V8 (three semi-spaces of 16 MB).
 */
const KEEP_YOUNG_GENERATION = '--no-memory-reducer'

/** Twice what V8 asks for (kLowAllocationThroughput in its heap.cc: 1000 bytes a millisecond). */
const ALLOCATED_MB_PER_SECOND = 2
/** Pieces of 64 KB: larger ones would be old, or in a space of their own. */
const PIECE_WORDS = 8000

/** Nobody reads it; V8 has no way to know. */
const garbage: { piece?: unknown } = {}

/**
 * V8 also shrinks it in the first collection after a while in which less than 1 MB a second was allocated, and there is no
 * flag against that: a burst after a pause of 15 s takes a tenth more processor time for a second or more (measured;
 * `test/facts` holds that it shrinks). So much garbage is made here, whatever the clients do, in 0.6 ms a second.
 */
function keepAllocating(): void {
  const allocate = (): void => {
    for (let bytes = 0; bytes < ALLOCATED_MB_PER_SECOND * 1e6; bytes += PIECE_WORDS * 8) {
      garbage.piece = new Array(PIECE_WORDS)
    }
    garbage.piece = undefined
  }
  setInterval(allocate, 1000).unref()
}

/**
 * Where V8 sees that nearly all objects of one place in the code survive one collection, it makes those of that place old
 * from the start, for good: 100 of them are enough, once the young generation is as large as it may get. In a
 * gateway they are garbage a moment later, which nobody notices before the next full collection, and until then they keep
 * alive what they point to: with a connection for each request 15 % of the young generation in the place of 1 %, and pauses of 8 ms
 * in the place of 0.8 (measured).
 */
const KEEP_GARBAGE_YOUNG = '--no-allocation-site-pretenuring'

/**
 * On one core the collector's threads help nobody: they take turns with the one that serves, some milliseconds each. A full
 * collection of 30 MB held up whoever came during it for 40 to 70 ms (measured: p99 at 1500 requests a second); as 300
 * steps of a tenth of a millisecond between the requests it does not. The processor time is the same. Of the flags for the
 * threads this is the one that may be set while V8 runs: without `--parallel-marking` it ends the process (measured).
 */
const COLLECT_IN_STEPS = '--no-concurrent-marking'

/** Nobody reads it. */
let _tick: object | undefined

/**
 * `process.nextTick` makes an object with computed keys. While none is alive, a full collection takes its hidden classes
 * away, and V8, which meets others next time, gives up on that line of code for good: each of a dozen ticks of a request
 * then takes 220 ns in the place of 60 (measured on Node 20: 2.3 us of 25). One that stays alive keeps them.
 */
function keepTickShape(): void {
  process.nextTick(() => {
    _tick ??= executionAsyncResource()
  })
}
