import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Roster } from '../../src/roster.ts'

test('members stand in the order in which they came, whoever leaves', () => {
  const roster = new Roster<string>()
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(name => roster.add(name))
  assert.deepEqual([...roster], ['a', 'b', 'c', 'd'])
  assert.equal(roster.remove(b), true)
  assert.deepEqual([...roster], ['a', 'c', 'd'])
  assert.equal(roster.remove(a), true)
  assert.equal(roster.first, 'c')
  assert.equal(roster.remove(d), true)
  assert.deepEqual([...roster], ['c'])
  roster.add('e')
  assert.deepEqual([...roster], ['c', 'e'])
  assert.equal(roster.remove(c), true)
  assert.equal(roster.size, 1)
})

test('a place is given up once', () => {
  const roster = new Roster<string>()
  const place = roster.add('a')
  assert.equal(roster.remove(undefined), false)
  assert.equal(roster.remove(place), true)
  assert.equal(roster.remove(place), false)
  assert.equal(roster.size, 0)
  assert.equal(roster.first, undefined)
})

test('shift takes out the first, and nothing of nobody', () => {
  const roster = new Roster<string>()
  assert.equal(roster.shift(), undefined)
  const place = roster.add('a')
  roster.add('b')
  assert.equal(roster.shift(), 'a')
  assert.equal(roster.remove(place), false)
  assert.deepEqual([...roster], ['b'])
})

test('members may leave while they are counted through', () => {
  const roster = new Roster<number>()
  const places = [1, 2, 3].map(n => roster.add(n))
  const seen: number[] = []
  for (const member of roster) {
    seen.push(member)
    for (const place of places) roster.remove(place)
  }
  assert.deepEqual(seen, [1, 2, 3])
  assert.equal(roster.size, 0)
})
