import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { Counter, Gauge, Registry } from 'prom-client'
import { changed, pause, until } from './support.ts'

const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants

/** A FIFO with both its ends open and non-blocking. */
function fifo(t: TestContext): { reader: number; writer: number } {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-facts-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'fifo')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, O_RDONLY | O_NONBLOCK)
  return { reader, writer: openSync(path, O_WRONLY | O_NONBLOCK) }
}

const LINE = `${'x'.repeat(999)}\n`

test('fact 26: a pino destination with maxLength drops what is above it, and says so', async t => {
  const { reader, writer } = fifo(t)
  const destination = pino.destination({ fd: writer, sync: false, minLength: 4096, maxLength: 100_000 })
  t.after(() => {
    destination.destroy()
    closeSync(reader)
  })
  let drops = 0
  destination.on('drop', () => drops++)
  destination.on('error', () => {})
  const from = performance.now()
  for (let i = 0; i < 1000; i++) destination.write(LINE)
  assert.ok(performance.now() - from < 1000, 'writing to a full pipe does not wait')
  await until('drops', () => drops > 500)
  assert.ok(
    drops < 1000,
    changed('26', 'it is bounded and counted', 'A log of our own was chosen for other reasons, too.'),
  )
})

test('fact 26: a pino destination that met EPIPE is silent for ever', async t => {
  const { reader, writer } = fifo(t)
  const destination = pino.destination({ fd: writer, sync: false })
  let errors = 0
  destination.on('error', () => errors++)
  t.after(() => closeSync(writer))
  const write = destination.write
  closeSync(reader)
  destination.write(LINE)
  await until(changed('26', 'it gives up', 'The log sink may use it after all.'), () => destination.write !== write)
  destination.write(LINE)
  await pause(20)
  assert.ok(errors <= 1, 'and nobody is told again')
})

test('fact 26: a pino destination in a pipe that is read delivers, in order', async t => {
  const { reader, writer } = fifo(t)
  const destination = pino.destination({ fd: writer, sync: false })
  t.after(() => {
    destination.destroy()
    closeSync(reader)
  })
  destination.write('one\n')
  destination.write('two\n')
  const chunk = Buffer.alloc(100)
  let text = ''
  await until('both', () => {
    try {
      text += chunk.toString('latin1', 0, readSync(reader, chunk))
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN')
    }
    return text === 'one\ntwo\n'
  })
})

test('fact 27: prom-client asks collect() at each scrape, so that plain numbers can be handed over there', async () => {
  const registry = new Registry()
  let plain = 0
  const counter = new Counter({
    name: 'requests_total',
    help: 'requests',
    labelNames: ['route'],
    registers: [registry],
    collect() {
      this.reset()
      this.inc({ route: 'a' }, plain)
    },
  })
  const gauge = new Gauge({
    name: 'inflight',
    help: 'in flight',
    registers: [registry],
    collect() {
      this.set(plain)
    },
  })
  const why = changed('27', 'collect() runs before values are read', 'See observe/families.ts and observe/metrics.ts.')
  for (plain of [3, 5]) {
    const text = await registry.metrics()
    assert.match(text, new RegExp(`^requests_total\\{route="a"\\} ${plain}$`, 'm'), why)
    assert.match(text, new RegExp(`^inflight ${plain}$`, 'm'), why)
  }
  assert.deepEqual([(await counter.get()).values[0]?.value, (await gauge.get()).values[0]?.value], [5, 5], why)
})
