/** Peaks in the ages at which clients leave: found where there are any, and only there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { factsOfRecord } from '../../src/explain/facts.ts'
import { Patience } from '../../src/explain/patience.ts'
import { record } from '../observe/fixtures.ts'

function patienceOf(ages: readonly number[], routeName = 'r'): Patience {
  const patience = new Patience()
  for (const clientAbortAge of ages) {
    patience.add(factsOfRecord(record({ outcome: 'client_abort', clientAbortAge, routeName }), ''))
  }
  return patience
}

const around = (ms: number, count: number, spreadMs: number) =>
  Array.from({ length: count }, (_, n) => ms + (n / count) * spreadMs)
const probably = (ages: readonly number[]) =>
  patienceOf(ages)
    .peaks('r')
    .map(({ probablyMs, count }) => `${count} at ${Math.round(probablyMs)}`)

test('one timeout of the callers, fired a little late, among people who leave at any age', () => {
  assert.deepEqual(probably(around(1000, 200, 30)), ['200 at 1000'])
  assert.deepEqual(probably(around(4990, 50, 40)), ['50 at 5000'])
  const people = Array.from({ length: 100 }, (_, n) => 50 * 1.05 ** n)
  const [first] = patienceOf([...people, ...around(30_000, 60, 200)]).peaks('r')
  assert.equal(first?.probablyMs, 30_000)
  assert.ok(first !== undefined && first.count >= 60 && first.count < 65)
})

test('two timeouts are two peaks, the larger first; the foot of one is none', () => {
  assert.deepEqual(probably([...around(1000, 60, 20), ...around(5000, 100, 90)]), ['100 at 5000', '60 at 1000'])
  assert.equal(probably(around(1000, 300, 110)).length, 1)
})

test('a timeout that is no round number keeps two digits', () => {
  assert.deepEqual(probably(around(1730, 20, 5)), ['20 at 1700'])
  assert.deepEqual(probably(around(250, 20, 3)), ['20 at 250'])
})

test('no peak: too few, or people who leave at any age', () => {
  assert.deepEqual(probably([]), [])
  assert.deepEqual(probably(around(1000, 4, 1)), [])
  assert.deepEqual(probably(around(10, 500, 10_000)), [])
  assert.deepEqual(probably(Array.from({ length: 300 }, (_, n) => 1.03 ** n)), [])
})

test('any log fits into bounded memory, and any age has its place', () => {
  const patience = patienceOf([0, 0.2, 1, 86_400_000, 1e12])
  assert.equal(patience.count('r'), 5)
  for (let n = 0; n < 5000; n++) {
    patience.add(factsOfRecord(record({ outcome: 'client_abort', clientAbortAge: 5, routeName: `r${n}` }), ''))
  }
  assert.equal(patience.routes().length, 1000)
  patience.add(factsOfRecord(record({ outcome: 'reset', clientAbortAge: 5 }), ''))
  assert.equal(patience.count('orders'), 0)
})
