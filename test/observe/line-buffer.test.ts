import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LineBuffer, type LineClass } from '../../src/observe/line-buffer.ts'
import { textLine } from '../support/text-line.ts'

/** Takes everything out in pieces of at most `maxBytes`, checking that each piece ends a line. */
function drain(buffer: LineBuffer, maxBytes: number): string {
  let text = ''
  for (let bytes = buffer.peek(maxBytes); bytes !== undefined; bytes = buffer.peek(maxBytes)) {
    assert.equal(bytes.at(-1), 0x0a)
    text += bytes.toString()
    buffer.consume(bytes.length)
  }
  return text
}

test('lines come out in order, whole, and are counted by class once they are out', () => {
  const buffer = new LineBuffer(1 << 20)
  let all = ''
  for (let n = 0; n < 5000; n++) {
    const lineClass: LineClass = n % 7 === 0 ? 'event' : 'access'
    const line = `${n} ${'é'.repeat(n % 90)}\n`
    assert.ok(buffer.push(line, lineClass))
    all += line
  }
  assert.equal(buffer.bytes, Buffer.byteLength(all))
  assert.deepEqual(buffer.written, { access: 0, event: 0 })
  assert.equal(drain(buffer, 4096), all)
  assert.deepEqual(buffer.written, { access: 4285, event: 715 })
  assert.equal(buffer.bytes, 0)
})

test('a line longer than a write, or than a chunk, comes out as one piece, also before and after short ones', () => {
  const buffer = new LineBuffer(1 << 20)
  const lines = ['a\n', `${'b'.repeat(5000)}\n`, 'c\n', `${'d'.repeat(100_000)}\n`, 'e\n', `${'€'.repeat(60_000)}\n`]
  for (const line of lines) assert.ok(buffer.push(line, 'event'))
  assert.equal(drain(buffer, 4096), lines.join(''))
  assert.ok(buffer.push(lines[3] ?? '', 'event'), 'and when the buffer was empty')
  assert.equal(drain(buffer, 4096), lines[3])
})

test('above seven eighths access lines are refused and counted, events still find room, and the bound holds', () => {
  const limit = 64 * 1024
  const buffer = new LineBuffer(limit)
  const line = `${'x'.repeat(99)}\n`
  let access = 0
  while (buffer.push(line, 'access')) access++
  assert.ok(buffer.bytes > limit * 0.8 && buffer.bytes <= limit * 0.875, String(buffer.bytes))
  assert.equal(buffer.dropped.access, 1)
  let events = 0
  while (buffer.push(line, 'event')) events++
  assert.ok(events > 50, String(events))
  assert.ok(!buffer.push('x\n', 'access'), 'room that an event left is not for access lines')
  assert.ok(buffer.bytes <= limit)
  assert.ok(!buffer.push('x'.repeat(limit * 2), 'event'), 'what can never fit takes no memory')
  assert.equal(buffer.dropAll(), access + events)
  assert.equal(buffer.bytes, 0)
  assert.ok(buffer.push(line, 'access'))
})

test('a line that is written as bytes lies as its text would, also at the end of a chunk and at the bound', () => {
  const limit = 64 * 1024
  const [asBytes, asText] = [new LineBuffer(limit), new LineBuffer(limit)]
  let [round, taken] = [0, 0]
  for (; taken === 0 || asText.dropped.access < 3; round++) {
    const text = `${round} ${'é'.repeat((round * 7) % 300)}\n`
    // It asks for more than it takes.
    const line = { ...textLine(text), mostBytes: text.length * 6 }
    const pushed = asText.push(text, 'access')
    assert.equal(asBytes.pushLine(line, 'access'), pushed)
    if (pushed) taken++
    assert.equal(asBytes.bytes, asText.bytes)
  }
  assert.deepEqual(asBytes.dropped, asText.dropped)
  assert.equal(drain(asBytes, 4096), drain(asText, 4096))
  assert.equal(asBytes.written.access, taken)
})

test('a line that was begun is dropped at a new destination, one that was not is kept', () => {
  const buffer = new LineBuffer(1 << 16)
  for (const line of ['one\n', 'two\n', 'three\n']) buffer.push(line, 'access')
  buffer.dropPartial()
  assert.equal(buffer.dropped.access, 0)
  buffer.consume(4)
  buffer.dropPartial()
  assert.equal(buffer.dropped.access, 0, 'between two lines there is nothing partial')
  buffer.consume(2)
  buffer.dropPartial()
  assert.deepEqual([buffer.written.access, buffer.dropped.access], [1, 1])
  assert.equal(drain(buffer, 100), 'three\n')
  buffer.dropPartial()
})

test('lines pushed while the first are being written are not in the way of them', () => {
  const buffer = new LineBuffer(1 << 16)
  buffer.push('one\n', 'access')
  const first = buffer.peek(4096)
  buffer.push('two\n', 'access')
  assert.equal(first?.toString(), 'one\n')
  buffer.consume(4)
  assert.equal(drain(buffer, 4096), 'two\n')
})

test('however lines and writes mix, nothing is lost, doubled, or out of order', () => {
  const buffer = new LineBuffer(32 * 1024)
  let [expected, got, pushed] = ['', '', 0]
  for (let round = 0; round < 20_000; round++) {
    const line = `${round}${'y'.repeat((round * 7919) % 700)}\n`
    if (buffer.push(line, round % 3 === 0 ? 'event' : 'access')) {
      expected += line
      pushed++
    }
    if (round % 5 !== 0) continue
    const bytes = buffer.peek(1 + ((round * 31) % 4096))
    // The destination takes a part, as a nearly full pipe does.
    const taken = bytes === undefined ? 0 : 1 + ((round * 17) % bytes.length)
    got += bytes?.subarray(0, taken).toString() ?? ''
    buffer.consume(taken)
  }
  for (let bytes = buffer.peek(4096); bytes !== undefined; bytes = buffer.peek(4096)) {
    got += bytes.toString()
    buffer.consume(bytes.length)
  }
  assert.equal(got, expected)
  assert.equal(buffer.written.access + buffer.written.event, pushed)
  assert.equal(pushed + buffer.dropped.access + buffer.dropped.event, 20_000)
})
