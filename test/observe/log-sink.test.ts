import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import {
  LineReader,
  makeFifo,
  makePipe,
  openReader,
  type SinkProcess,
  startSink,
  temporaryFolder,
} from './sink-process.ts'

const MIB = 1 << 20
/** prlimit(1) is util-linux. */
const LINUX = { skip: process.platform !== 'linux' }

const access = (sink: SinkProcess, lines: number, lineBytes = 300) =>
  sink.ask({ do: 'write', lines, lineBytes, lineClass: 'access' })
const event = (sink: SinkProcess, lines: number, lineBytes = 300) =>
  sink.ask({ do: 'write', lines, lineBytes, lineClass: 'event' })

/** Every line whole, and in the order in which it was written. */
function assertWholeLines(lines: readonly string[]): void {
  let previous = -1
  for (const line of lines) {
    const { n } = JSON.parse(line) as { n: number }
    assert.ok(n > previous, `${n} after ${previous}`)
    previous = n
  }
}

/** What a log that never moves again must not do: hold the loop, grow, hang the exit. */
async function assertHarmless(sink: SinkProcess): Promise<void> {
  const before = await access(sink, 20_000)
  const after = await access(sink, 60_000)
  assert.ok(after.dropped.access > 60_000 && after.dropped.event === 0, JSON.stringify(after))
  assert.ok(after.bufferedBytes <= MIB, String(after.bufferedBytes))
  assert.ok(after.rssBytes - before.rssBytes < 40 * MIB, `${before.rssBytes} -> ${after.rssBytes}`)
  assert.ok(after.worstDelayMs < 200, `loop delay ${after.worstDelayMs} ms`)
  const events = await event(sink, 10)
  assert.equal(events.dropped.event, 0, 'events still find room')
  await sink.until(report => !report.up)
  const { report, code, tookMs } = await sink.exit()
  assert.equal(code, 0)
  assert.ok(report.lost > 0)
  const { written, dropped } = report
  assert.equal(written.access + dropped.access + written.event + dropped.event, 80_010, 'every line is accounted for')
  assert.ok(tookMs < 1500, `exit took ${tookMs} ms`)
}

test('stdout is a pipe that nobody reads: requests go on, memory and loop stay flat, the exit is prompt', async t => {
  const { readFd, writeFd } = makePipe(temporaryFolder(t))
  t.after(() => closeSync(readFd))
  const sink = await startSink(t, { stdout: writeFd })
  closeSync(writeFd)
  await assertHarmless(sink)
})

test('stdout is a socket that nobody reads (child_process, systemd): the same', async t => {
  const sink = await startSink(t, { stdout: 'pipe' })
  await assertHarmless(sink)
})

test('stdout is /dev/full: down, counted, and a prompt exit', async t => {
  const sink = await startSink(t, { destination: '/dev/full' })
  assert.ok(sink.first.up)
  await assertHarmless(sink)
})

test('a path that cannot be opened: down from the start, with the reason, and harmless', async t => {
  const sink = await startSink(t, { destination: join(temporaryFolder(t), 'missing', 'log') })
  assert.equal(sink.first.up, false)
  assert.match(sink.first.error, /ENOENT/)
  await assertHarmless(sink)
})

for (const kind of ['pipe', 'socket'] as const) {
  test(`the reader of a ${kind} stalls, then goes on: what was kept arrives whole and in order, and it is up again`, async t => {
    const { readFd, writeFd } = makePipe(temporaryFolder(t))
    const sink = await startSink(t, { stdout: kind === 'pipe' ? writeFd : 'pipe' })
    closeSync(writeFd)
    await access(sink, 20_000)
    const stalled = await sink.until(report => !report.up)
    assert.equal(stalled.error, '', 'a stall is no failure')
    // Only now does anyone read. (Node reads a child's stdout when somebody listens.)
    const reader = new LineReader(kind === 'pipe' ? readFd : (sink.process.stdout as Socket))
    if (kind === 'socket') closeSync(readFd)
    await sink.until(report => report.up && report.bufferedBytes === 0)
    await event(sink, 1)
    const { report, code } = await sink.exit()
    assert.equal(code, 0)
    assert.equal(report.lost, 0)
    const lines = (await reader.rest()).split('\n').slice(0, -1)
    assertWholeLines(lines)
    assert.equal(lines.length, report.written.access + report.written.event)
    assert.equal(lines.length + report.dropped.access, 20_001)
  })

  test(`the reader of a ${kind} closes: EPIPE is noticed, nothing throws, the exit is prompt`, async t => {
    const { readFd, writeFd } = makePipe(temporaryFolder(t))
    const sink = await startSink(t, { stdout: kind === 'pipe' ? writeFd : 'pipe' })
    closeSync(writeFd)
    const reader = new LineReader(kind === 'pipe' ? readFd : (sink.process.stdout as Socket))
    if (kind === 'socket') closeSync(readFd)
    await access(sink, 10)
    assertWholeLines(await reader.lines(10))
    reader.close()
    await access(sink, 1000)
    const down = await sink.until(report => !report.up)
    assert.match(down.error, /EPIPE|ENXIO/)
    const { code, tookMs } = await sink.exit()
    assert.equal(code, 0)
    assert.ok(tookMs < 500, `${tookMs} ms`)
  })
}

test('a FIFO without a reader is down; a reader gets what waits; another one after it begins with a whole line', async t => {
  const path = join(temporaryFolder(t), 'fifo')
  makeFifo(path)
  const sink = await startSink(t, { destination: path })
  assert.match(sink.first.error, /ENXIO/)
  await access(sink, 10)
  const first = new LineReader(openReader(path))
  assert.equal((await first.lines(10)).length, 10)
  await sink.until(report => report.up)
  first.close()
  await access(sink, 500)
  await sink.until(report => !report.up)
  const second = new LineReader(openReader(path))
  await sink.until(report => report.up && report.bufferedBytes === 0)
  const { report, code } = await sink.exit()
  assert.equal(code, 0)
  const lines = (await second.rest()).split('\n').slice(0, -1)
  assertWholeLines(lines)
  assert.equal(lines.length, 500)
  assert.equal(report.written.access, 510)
})

test('a single line arrives within 20 ms, give or take the way to this process', async t => {
  const { readFd, writeFd } = makePipe(temporaryFolder(t))
  const sink = await startSink(t, { stdout: writeFd })
  closeSync(writeFd)
  const reader = new LineReader(readFd)
  await access(sink, 1)
  await reader.lines(1)
  let best = Number.POSITIVE_INFINITY
  for (let n = 2; n < 12; n++) {
    const began = performance.now()
    void access(sink, 1)
    await reader.lines(n)
    best = Math.min(best, performance.now() - began)
  }
  assert.ok(best < 20, `${best} ms`)
  await sink.exit()
})

test('a file: lines are appended; after it was moved away, reopen() goes on in a new one', async t => {
  const path = join(temporaryFolder(t), 'log')
  writeFileSync(path, 'from a process that was killed in the midd')
  const sink = await startSink(t, { destination: path })
  await access(sink, 1000)
  await sink.until(report => report.bufferedBytes === 0)
  renameSync(path, `${path}.1`)
  await access(sink, 10)
  await sink.until(report => report.bufferedBytes === 0)
  await sink.ask({ do: 'reopen' })
  await access(sink, 20)
  const { report, code } = await sink.exit()
  assert.equal(code, 0)
  assert.equal(report.lost, 0)
  const [cut, ...old] = readFileSync(`${path}.1`, 'utf8').split('\n').slice(0, -1)
  assert.equal(cut, 'from a process that was killed in the midd')
  assert.equal(old.length, 1010)
  assertWholeLines(old)
  const fresh = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  assert.equal(fresh.length, 20)
  assertWholeLines(fresh)
})

test(
  'a file that cannot grow is down, and once it can, the line that was begun is ended: nothing is lost',
  LINUX,
  async t => {
    const path = join(temporaryFolder(t), 'log')
    const sink = await startSink(t, { destination: path, fileBlocks: 301 })
    await access(sink, 2000)
    const full = await sink.until(report => !report.up)
    assert.match(full.error, /EFBIG/)
    assert.notEqual(readFileSync(path).at(-1), 0x0a, 'it ends in the middle of a line')
    execFileSync('prlimit', ['--pid', String(sink.process.pid), '--fsize=unlimited:'])
    await sink.until(report => report.up && report.bufferedBytes === 0)
    const { report, code } = await sink.exit()
    assert.equal(code, 0)
    assert.equal(report.lost, 0)
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    assert.equal(lines.length, 2000)
    assertWholeLines(lines)
  },
)

test('the fact behind destination.ts: a write that blocks in the thread pool holds the exit of the process', async t => {
  const { readFd, writeFd } = makePipe(temporaryFolder(t))
  const script = `require('fs').write(1, Buffer.alloc(1 << 20), () => {}); setTimeout(() => {
    process.stderr.write('exiting'); process.exit(0) }, 100)`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', writeFd, 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  closeSync(writeFd)
  const exited = once(child, 'exit')
  await once(child.stderr as Readable, 'data')
  const held = await Promise.race([exited.then(() => false), new Promise(resolve => setTimeout(resolve, 1000, true))])
  assert.ok(held, 'fixed in libuv? then files and pipes could be written alike')
  closeSync(readFd)
  await exited
})

test('stdout is a file that others write to as well (> log 2>&1): nobody overwrites anybody', async t => {
  const path = join(temporaryFolder(t), 'log')
  writeFileSync(path, '')
  const fd = openSync(path, 'w')
  const sink = await startSink(t, { stdout: fd })
  await access(sink, 5)
  await sink.until(report => report.bufferedBytes === 0)
  writeSync(fd, '{"n":5}\n')
  closeSync(fd)
  await access(sink, 1)
  await sink.exit()
  assert.equal(readFileSync(path, 'utf8').split('\n').length - 1, 7)
})
