/** The clock of an exchange, on mocked time: exact. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { BODY_IDLE, CONNECT, Deadlines, QUEUE, REQUEST, RESPONSE_HEADERS } from '../../src/exchange/deadlines.ts'
import { mockTime } from './mock-time.ts'

function start(t: TestContext) {
  const time = mockTime(t)
  const ledger = { armed: 0, cleared: 0 }
  const fired: { which: number; at: number; overrunMs: number }[] = []
  const deadlines = new Deadlines(ledger, {
    due: (which, overrunMs) => fired.push({ which, at: time.now, overrunMs }),
  })
  return { time, ledger, fired, deadlines }
}

test('a timeout fires once, at its instant, and is disarmed by then', t => {
  const { time, fired, deadlines, ledger } = start(t)
  deadlines.arm(CONNECT, 100)
  time.pass(99)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [{ which: CONNECT, at: 100, overrunMs: 0 }])
  assert.equal(deadlines.running(CONNECT), false)
  time.pass(1000)
  assert.equal(fired.length, 1)
  assert.deepEqual([deadlines.ticking, ledger.armed - ledger.cleared], [false, 0])
})

test('a timeout that is disarmed never fires', t => {
  const { time, fired, deadlines } = start(t)
  deadlines.arm(CONNECT, 100)
  time.pass(50)
  deadlines.disarm(CONNECT)
  time.pass(1000)
  assert.deepEqual(fired, [])
})

test('a timeout moved into the future a thousand times costs one native timer, and fires at its last instant', t => {
  const { time, fired, deadlines, ledger } = start(t)
  for (let byte = 0; byte < 1000; byte++) deadlines.arm(BODY_IDLE, 100)
  assert.equal(ledger.armed, 1)
  time.pass(60)
  deadlines.arm(BODY_IDLE, 100)
  time.pass(99)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [{ which: BODY_IDLE, at: 160, overrunMs: 0 }])
  assert.equal(ledger.armed, 2, 'it looked at 100, found itself early, and was set anew')
})

test('a shorter timeout armed later fires first, and the longer one at its own time', t => {
  const { time, fired, deadlines } = start(t)
  deadlines.arm(REQUEST, 300)
  time.pass(50)
  deadlines.arm(RESPONSE_HEADERS, 100)
  time.pass(250)
  assert.deepEqual(fired, [
    { which: RESPONSE_HEADERS, at: 150, overrunMs: 0 },
    { which: REQUEST, at: 300, overrunMs: 0 },
  ])
})

test('of two that are due together each fires, the earlier first', t => {
  const { time, fired, deadlines } = start(t)
  deadlines.arm(REQUEST, 100)
  deadlines.arm(QUEUE, 99)
  time.stall(500)
  time.pass(2)
  assert.deepEqual(
    fired.map(({ which }) => which),
    [QUEUE, REQUEST],
  )
})

test('a stage that began in the past is counted from then', t => {
  const { time, fired, deadlines } = start(t)
  time.pass(30)
  deadlines.arm(QUEUE, 100, 10)
  time.pass(79)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [{ which: QUEUE, at: 110, overrunMs: 0 }])
})

test('"off" never fires, and disarms what ran before', t => {
  const { time, fired, deadlines } = start(t)
  deadlines.arm(REQUEST, 100)
  deadlines.arm(REQUEST, Number.POSITIVE_INFINITY)
  assert.equal(deadlines.running(REQUEST), false)
  time.pass(100_000)
  assert.deepEqual(fired, [])
})

test('how late a timeout fires is told: a loop that stalls 400 ms overruns 100 ms by 300', t => {
  const { time, fired, deadlines } = start(t)
  deadlines.arm(RESPONSE_HEADERS, 100)
  time.stall(400)
  time.pass(0)
  assert.deepEqual(fired, [{ which: RESPONSE_HEADERS, at: 400, overrunMs: 300 }])
})

test('the answer that sat in the socket during a stall is read before the timeout is believed', t => {
  const { time, fired, deadlines } = start(t)
  deadlines.arm(RESPONSE_HEADERS, 100)
  time.stall(400)
  // The timer phase: due. Then the poll phase, in which the answer is read; then the look that counts.
  time.timers()
  deadlines.disarm(RESPONSE_HEADERS)
  time.immediates()
  assert.deepEqual(fired, [])
})

test('a clock that is stopped between its timer and its second look stays silent', t => {
  const { time, fired, deadlines, ledger } = start(t)
  deadlines.arm(CONNECT, 100)
  time.stall(100)
  time.timers()
  deadlines.stop()
  time.immediates()
  assert.deepEqual(fired, [])
  deadlines.arm(CONNECT, 1)
  time.pass(100)
  assert.deepEqual([fired, ledger.armed - ledger.cleared, deadlines.ticking], [[], 0, false])
})

test('a timeout of a fraction of a millisecond more than the timer keeps does not fire early, nor spin', t => {
  const { time, fired, deadlines, ledger } = start(t)
  deadlines.arm(CONNECT, 10.4)
  time.pass(10)
  assert.equal(fired.length, 0)
  time.pass(1)
  assert.equal(fired.length, 1)
  assert.ok((fired[0]?.overrunMs ?? -1) >= 0 && ledger.armed <= 2)
})

test('a timeout that says which shorter ones will follow: these cost no native timer of their own', t => {
  const { time, fired, deadlines, ledger } = start(t)
  deadlines.arm(REQUEST, 1000, undefined, 200)
  time.pass(10)
  deadlines.arm(CONNECT, 200)
  assert.equal(ledger.armed, 1)
  time.pass(200)
  assert.deepEqual(
    fired.map(({ which, at }) => [which, at]),
    [[CONNECT, 210]],
  )
  time.pass(790)
  assert.deepEqual(
    fired.map(({ which, at }) => [which, at]),
    [
      [CONNECT, 210],
      [REQUEST, 1000],
    ],
  )
})
