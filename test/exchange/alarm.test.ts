/** The native timer that a connection and its exchange share, on mocked time: exact. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Alarm, type Sleeper } from '../../src/exchange/alarm.ts'
import { mockTime } from '../upstream/mock-time.ts'

function start(t: TestContext) {
  const time = mockTime(t)
  const ledger = { armed: 0, cleared: 0 }
  const woken: string[] = []
  const alarm = new Alarm(ledger)
  const sleeper = (name: string): Sleeper => ({ look: rangAt => woken.push(`${name} at ${time.now} for ${rangAt}`) })
  return { time, ledger, woken, alarm, owner: sleeper('owner'), guest: sleeper('guest') }
}

test('both are woken, the guest first, and an earlier time counts', t => {
  const { time, ledger, woken, alarm, owner, guest } = start(t)
  alarm.owner = owner
  alarm.guest = guest
  alarm.by(200)
  alarm.by(100)
  alarm.by(300)
  alarm.by(Number.POSITIVE_INFINITY)
  assert.deepEqual([ledger.armed - ledger.cleared, alarm.isSet], [1, true])
  time.pass(1000)
  assert.deepEqual(woken, ['guest at 100 for 100', 'owner at 100 for 100'])
  assert.deepEqual([ledger.armed, ledger.cleared, alarm.isSet], [2, 2, false])
})

for (const [first, last] of [
  ['owner', 'guest'],
  ['guest', 'owner'],
] as const) {
  test(`the ${first} leaves: the ${last} is woken all the same; when both have left it is off`, t => {
    const s = start(t)
    s.alarm.owner = s.owner
    s.alarm.guest = s.guest
    s.alarm.by(100)
    s.alarm.leave(s[first])
    assert.equal(s.alarm.isSet, true)
    s.time.pass(100)
    assert.deepEqual(s.woken, [`${last} at 100 for 100`])
    s.alarm.by(200)
    s.alarm.leave(s[last])
    s.time.pass(1000)
    assert.deepEqual([s.woken.length, s.alarm.isSet, s.ledger.armed - s.ledger.cleared], [1, false, 0])
  })
}

test('who leaves between the ringing and the look is not woken', t => {
  const { time, woken, alarm, owner } = start(t)
  alarm.owner = owner
  alarm.by(100)
  time.stall(100)
  time.timers()
  alarm.leave(owner)
  time.immediates()
  assert.deepEqual(woken, [])
})
