/** bench/scale: the simulated gateways keep their bounds and their books, and docs/SCALING.md shows what it says. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { Agenda } from '../../bench/scale/agenda.ts'
import { HEADER, measure, REPLICAS, row, share, WAYS } from '../../bench/scale/plan.ts'
import { SIMULATED, simulate, type World } from '../../bench/scale/simulate.ts'

const page = readFileSync(new URL('../../docs/SCALING.md', import.meta.url), 'utf8')

const way = (name: string) => WAYS.find(found => found.name === name) ?? assert.fail(name)

/** Ten seconds with a stall in the middle: hundreds of exchanges, a few milliseconds. */
function small(replicas: number, settings: Partial<World['settings']> = {}, world: Partial<World> = {}): World {
  return {
    replicas,
    settings: { slots: 4, queue: 3, queueTimeout: 0.2, responseHeaders: 0.5, request: 1, ...settings },
    rate: 100,
    patience: 0.8,
    workers: 8,
    work: 0.05,
    stall: [3, 6],
    end: 10,
    seed: 7,
    ...world,
  }
}

const worlds = fc
  .record({
    replicas: fc.integer({ min: 1, max: 20 }),
    slots: fc.integer({ min: 1, max: 8 }),
    queue: fc.integer({ min: 0, max: 6 }),
    queueTimeout: fc.constantFrom(0.05, 0.3, Number.POSITIVE_INFINITY),
    responseHeaders: fc.constantFrom(0.1, 0.6, Number.POSITIVE_INFINITY),
    request: fc.constantFrom(0.4, 1.5, Number.POSITIVE_INFINITY),
    seed: fc.integer(),
  })
  .map(({ replicas, seed, ...settings }) => small(replicas, settings, { seed }))

test('every caller gets exactly one outcome, within its patience; no gateway has more connections or waiters than it may', () => {
  fc.assert(
    fc.property(worlds, world => {
      const { ended, mostConnections, mostQueued, wasted } = simulate(world)
      const { slots, queue, queueTimeout, responseHeaders, request } = world.settings
      assert.ok(mostConnections <= world.replicas * slots)
      assert.ok(mostQueued <= queue)
      const longest = Math.min(world.patience, request, queueTimeout + responseHeaders)
      for (const { arrived, ended: at, outcome } of ended) {
        assert.ok(SIMULATED.includes(outcome))
        assert.ok(at >= arrived && at - arrived <= longest + 1e-9, `${outcome} after ${at - arrived}`)
      }
      // Poisson with mean 1000: eight standard deviations.
      assert.ok(Math.abs(ended.length - world.rate * world.end) < 8 * Math.sqrt(world.rate * world.end))
      assert.ok(wasted <= ended.length)
    }),
    { numRuns: 60, seed: 1 },
  )
})

test('the same seed gives the same history, another seed another', () => {
  assert.deepEqual(simulate(small(5)), simulate(small(5)))
  assert.notDeepEqual(simulate(small(5)), simulate(small(5, {}, { seed: 8 })))
})

test('with a backend that is well and slots to spare, everybody is served', () => {
  const { ended, wasted } = simulate(
    small(3, { slots: 100, responseHeaders: 5, request: 9 }, { stall: [99, 99], patience: 9 }),
  )
  assert.deepEqual(new Set(ended.map(({ outcome }) => outcome)), new Set(['completed']))
  assert.equal(wasted, 0)
})

test('what a timeout gives up, the backend still does: its backlog is for nobody', () => {
  const { backlog, backlogForNobody, wasted } = simulate(small(4, { slots: 50 }))
  assert.ok(backlogForNobody > 0.5 * backlog)
  assert.ok(wasted >= backlogForNobody)
})

test('the agenda: by time, and by who was first where the time is the same', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 })), times => {
      const agenda = new Agenda<number>()
      for (const [index, time] of times.entries()) agenda.add(time, index)
      assert.equal(agenda.size, times.length)
      const order: number[] = []
      while (agenda.next((_, index) => order.push(index)));
      const expected = [...times.keys()].sort((a, b) => (times[a] as number) - (times[b] as number) || a - b)
      assert.deepEqual(order, expected)
    }),
  )
})

test('a share is at least one, no more than everything and its room, and all shares together are enough', () => {
  for (const replicas of REPLICAS) {
    assert.ok(Number.isInteger(share(128, replicas)) && share(128, replicas) >= 1)
    assert.ok(share(128, replicas) * replicas >= 128)
  }
  assert.equal(share(128, 1), 151)
})

test('copied settings make a stall of the backend worse with every gateway, divided ones do not', () => {
  const [one, ten] = [measure(way('copied'), 1), measure(way('copied'), 10)]
  assert.ok(ten.recovery > 5 * one.recovery)
  assert.ok(ten.forNobody > 5 * one.forNobody)
  const divided = measure(way('divided'), 10)
  assert.ok(divided.recovery <= 2 * one.recovery)
  assert.ok(divided.connections <= 128 + 10)
})

test('docs/SCALING.md has the tables that `npm run bench:scale` prints: else paste them anew', () => {
  for (const { name, says } of WAYS) assert.ok(page.includes(`**${name}**: ${says}\n\n${HEADER}\n`), name)
  // Those that are quick; the others are made by the same code.
  for (const name of ['divided', 'shared']) {
    for (const replicas of [1, 10, 100])
      assert.ok(page.includes(`\n${row(measure(way(name), replicas))}\n`), `${name}, ${replicas}`)
  }
})
