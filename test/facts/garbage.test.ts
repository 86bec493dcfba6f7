/**
 * A `Set` whose members come and go makes their garbage old: why `roster.ts` exists. And what a tick is made of, of which
 * `engine.ts` keeps one.
 */
import assert from 'node:assert/strict'
import { executionAsyncResource } from 'node:async_hooks'
import { test } from 'node:test'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Roster } from '../../src/roster.ts'

const IN_FLIGHT = 8
const REQUESTS = 2000
const MEMBER_BYTES = 8000
const ALL_MB = (REQUESTS * MEMBER_BYTES) / 1e6

interface Register {
  /** @returns what removes it */
  enter(member: object): () => void
}

/** MB that are in use after `REQUESTS` members came, went, and only young garbage was collected. */
function garbage(register: Register): number {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void
  const minor = (): void => {
    for (let i = 0; i < 3; i++) gc({ type: 'minor' })
  }
  const leaving: (() => void)[] = []
  const enter = (): void => {
    leaving.push(register.enter({ work: new Array(MEMBER_BYTES / 8).fill(0.5) }))
  }
  gc()
  const before = getHeapStatistics().used_heap_size
  for (let i = 0; i < IN_FLIGHT; i++) enter()
  // The accident: what is in flight now is promoted, as by two scavenges during one slow answer.
  minor()
  for (let i = 0; i < REQUESTS; i++) {
    enter()
    leaving.shift()?.()
    if (i % 500 === 499) minor()
  }
  for (const leave of leaving) leave()
  return (getHeapStatistics().used_heap_size - before) / 1e6
}

test('a roster keeps those alone that were in flight while others were collected', () => {
  const roster = new Roster<object>()
  const kept = garbage({
    enter(member) {
      const place = roster.add(member)
      return () => roster.remove(place)
    },
  })
  assert.equal(roster.size, 0)
  // Whoever is in flight during a collection is promoted with good reason. (First of the two: where V8 has seen members
  // live long it makes the next ones old at once.)
  assert.ok(kept < ALL_MB / 4, `${kept} of ${ALL_MB} MB alive`)
})

test('a Set keeps nearly all of its former members alive, once it was promoted', () => {
  const set = new Set<object>()
  const kept = garbage({
    enter(member) {
      set.add(member)
      return () => set.delete(member)
    },
  })
  assert.equal(set.size, 0)
  assert.ok(
    kept > ALL_MB / 2,
    `${kept} of ${ALL_MB} MB alive: has V8 learned to let them go? Then roster.ts can go too`,
  )
})

test('the resource of a tick is the object that nextTick has made for it, with its computed keys', async () => {
  const ticks = await Promise.all(
    [1, 2].map(() => new Promise<object>(resolve => process.nextTick(() => resolve(executionAsyncResource())))),
  )
  for (const tick of ticks) {
    assert.equal(
      typeof (tick as { callback?: unknown }).callback,
      'function',
      'see engine.ts: nothing else keeps its shape',
    )
    assert.ok(Object.getOwnPropertySymbols(tick).length >= 2)
  }
  assert.notEqual(ticks[0], ticks[1])
})
