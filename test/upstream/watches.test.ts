/** The two clocks that look at bytes instead of events, on mocked time: FlushWatch and UploadClock. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { CLIENT_BODY_IDLE, Deadlines, MIN_BODY_RATE, REQUEST_WRITE } from '../../src/exchange/deadlines.ts'
import { FlushWatch } from '../../src/exchange/flush-watch.ts'
import type { RouteLimits } from '../../src/exchange/route.ts'
import type { SocketRow, SocketTable } from '../../src/exchange/socket-table.ts'
import { UploadClock } from '../../src/exchange/upload-clock.ts'
import { mockTime } from './mock-time.ts'

/** A socket whose kernel takes what the test says. */
function socketTaking(): { socket: Socket; take: (bytes: number) => void } {
  const handle = { bytesWritten: 10_000_000, writeQueueSize: 10_000_000 }
  return {
    socket: { _handle: handle } as unknown as Socket,
    take: bytes => {
      handle.writeQueueSize -= bytes
    },
  }
}

/** Of a machine that has none: Node's own words must do. */
const NO_TABLE: Partial<SocketTable> = {
  available: false,
  readAt: 0,
  costMs: 0,
  row: () => undefined,
  refresh: async () => {},
}

function startWatch(t: TestContext, limitMs: number, table = NO_TABLE) {
  const time = mockTime(t)
  const ledger = { armed: 0, cleared: 0 }
  const fired: number[] = []
  const deadlines = new Deadlines(ledger, {
    due: () => {
      if (watch.look() >= 0) fired.push(time.now)
    },
  })
  const watch = new FlushWatch(deadlines, REQUEST_WRITE, limitMs, table as SocketTable)
  return { time, ledger, fired, deadlines, watch }
}

test('a peer that takes nothing: the watch fires at its limit, exactly', t => {
  const { time, fired, watch } = startWatch(t, 1000)
  watch.start(socketTaking().socket)
  time.pass(999)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [1000])
})

test('a limit shorter than one step of the watch is kept exactly, too', t => {
  const { time, fired, watch } = startWatch(t, 7)
  watch.start(socketTaking().socket)
  time.pass(100)
  assert.deepEqual(fired, [7])
})

test('one byte taken restarts the watch, at most one step late', t => {
  const { time, fired, watch } = startWatch(t, 1000)
  const { socket, take } = socketTaking()
  watch.start(socket)
  time.pass(505)
  take(1)
  time.pass(1000)
  assert.deepEqual(fired, [], 'before 1000 ms after the byte')
  time.pass(20)
  assert.ok(fired.length === 1 && (fired[0] ?? 0) <= 1525, `fired at ${fired}`)
})

test('a peer that takes one byte every 900 ms never meets a limit of 1000', t => {
  const { time, fired, watch } = startWatch(t, 1000)
  const { socket, take } = socketTaking()
  watch.start(socket)
  for (let i = 0; i < 20; i++) {
    time.pass(900)
    take(1)
  }
  assert.deepEqual(fired, [])
})

test('a watch that is stopped fires no more, and can be started again from its full limit', t => {
  const { time, fired, watch, deadlines } = startWatch(t, 1000)
  const { socket } = socketTaking()
  watch.start(socket)
  time.pass(900)
  watch.stop()
  assert.deepEqual([watch.watching, deadlines.running(REQUEST_WRITE)], [false, false])
  time.pass(5000)
  watch.start(socket)
  time.pass(999)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [6900])
})

test('a peer whose kernel alone tells that it takes bytes never meets the limit; when it stops, it does', async t => {
  const row = { state: '01', unacknowledged: 4_000_000 }
  const table = {
    available: true,
    readAt: 0,
    costMs: 5,
    row: (): SocketRow => row,
    refresh: async () => {
      table.readAt = performance.now()
    },
  }
  const { time, fired, watch } = startWatch(t, 1000, table)
  watch.start(socketTaking().socket)
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 10) {
      time.pass(10)
      await Promise.resolve()
    }
  }
  for (let i = 0; i < 5; i++) {
    await pass(900)
    row.unacknowledged -= 100_000
  }
  assert.deepEqual(fired, [])
  await pass(1100)
  assert.ok(fired.length === 1 && (fired[0] ?? 0) >= 5500 && (fired[0] ?? 0) <= 5600, `fired at ${fired}`)
})

test('starting a watch twice does not restart it', t => {
  const { time, fired, watch } = startWatch(t, 1000)
  const { socket } = socketTaking()
  watch.start(socket)
  time.pass(600)
  watch.start(socket)
  time.pass(400)
  assert.deepEqual(fired, [1000])
})

test('"off" sets no timer', t => {
  const { watch, ledger } = startWatch(t, Number.POSITIVE_INFINITY)
  watch.start(socketTaking().socket)
  assert.equal(ledger.armed, 0)
})

function startClock(t: TestContext, limits: Partial<RouteLimits>) {
  const time = mockTime(t)
  const fired: [number, number][] = []
  const deadlines = new Deadlines({ armed: 0, cleared: 0 }, { due: which => fired.push([which, time.now]) })
  const all = { clientBodyIdle: Number.POSITIVE_INFINITY, minBodyRate: null, ...limits } as RouteLimits
  return { time, fired, clock: new UploadClock(deadlines, all) }
}

test('a body that stops: client body_idle fires that long after its last byte', t => {
  const { time, fired, clock } = startClock(t, { clientBodyIdle: 100 })
  clock.want()
  time.pass(80)
  clock.received(1)
  time.pass(99)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [[CLIENT_BODY_IDLE, 180]])
})

test('while the upstream makes us wait nothing runs, and the next byte has its full time again', t => {
  const { time, fired, clock } = startClock(t, { clientBodyIdle: 100 })
  clock.want()
  time.pass(80)
  clock.hold()
  time.pass(5000)
  clock.received(1)
  time.pass(5000)
  assert.deepEqual([fired, clock.wanting], [[], false])
  clock.want()
  time.pass(99)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [[CLIENT_BODY_IDLE, 10_180]])
})

const rate = { minBodyRate: { bytesPerMs: 1, graceMs: 500 } }

test('a body below min_body_rate is cut when its average falls below, and not within the grace', t => {
  const { time, fired, clock } = startClock(t, rate)
  clock.want()
  for (let i = 0; i < 9; i++) {
    time.pass(50)
    clock.received(10)
  }
  time.pass(49)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [[MIN_BODY_RATE, 500]])
})

test('bytes that came early count: 2000 bytes at 1 per ms are enough for 2000 ms', t => {
  const { time, fired, clock } = startClock(t, rate)
  clock.want()
  clock.received(2000)
  time.pass(1999)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [[MIN_BODY_RATE, 2000]])
})

test('the rate is that of the time we wanted bytes: ten seconds of waiting for the upstream do not count', t => {
  const { time, fired, clock } = startClock(t, rate)
  clock.want()
  time.pass(300)
  clock.hold()
  time.pass(10_000)
  clock.want()
  time.pass(199)
  assert.deepEqual(fired, [])
  time.pass(1)
  assert.deepEqual(fired, [[MIN_BODY_RATE, 10_500]])
})
