import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LEDGERS, Ledger } from '../../src/observe/ledger.ts'

test('a ledger whose entries and owner agree reads 0', () => {
  const ledger = new Ledger()
  let alive = 0
  ledger.slots.live = () => alive
  ledger.slots.taken += 3
  alive = 3
  assert.equal(ledger.imbalance('slots'), 0)
  ledger.slots.returned += 2
  alive = 1
  for (const name of LEDGERS) assert.equal(ledger.imbalance(name), 0)
})

test('a leak reads above 0, and closing twice below', () => {
  const ledger = new Ledger()
  ledger.requests.opened += 1
  assert.equal(ledger.imbalance('requests'), 1)
  ledger.timers.armed += 1
  ledger.timers.cleared += 2
  assert.equal(ledger.imbalance('timers'), -1)
})
