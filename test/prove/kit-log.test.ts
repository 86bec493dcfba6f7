// biome-ignore-all lint/suspicious/noThenProperty: a fault is `{ on, then }`; its `then` is a word, so nothing takes it for a promise
/** The log faults: what a process that writes to its standard output meets is exactly the fault. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spawnWithLog } from '../../src/prove/log-faults.ts'

/** Writes lines of 1 KiB for as long as it can, and says on stderr what ended that. */
const WRITER = `
const { writeSync } = require('node:fs')
let bytes = 0
try {
  for (;;) bytes += writeSync(1, 'x'.repeat(1023) + '\\n')
} catch (error) {
  writeSync(2, error.code + ' after ' + bytes)
}
`

async function firstWords(child: ReturnType<typeof spawnWithLog>['child']): Promise<string> {
  const { stderr } = child
  assert.ok(stderr)
  return new Promise(resolve => stderr.once('data', (bytes: Buffer) => resolve(bytes.toString())))
}

test('a log that nobody reads: it takes 64 KiB and then stalls the writer; reading makes room', async () => {
  const { child, reader } = spawnWithLog('sh', ['-c', 'echo hello; echo started >&2; yes line'], {
    on: 'log',
    then: 'hang',
  })
  assert.equal(await firstWords(child), 'started\n')
  assert.match(reader?.readNow() ?? '', /^hello\n/)
  // yes(1) goes on as soon as there is room, and is stuck in a pipe of 64 KiB otherwise.
  let held = ''
  while (held.length < 64 * 1024) {
    held += reader?.readNow() ?? ''
    await new Promise(setImmediate)
  }
  const exited = new Promise(resolve => child.once('exit', (_, signal) => resolve(signal)))
  child.kill('SIGKILL')
  reader?.close()
  assert.equal(await exited, 'SIGKILL')
})

test('a log whose reader is gone: EPIPE at the first byte', async () => {
  const { child } = spawnWithLog(process.execPath, ['-e', WRITER], { on: 'log', then: 'close' })
  assert.equal(await firstWords(child), 'EPIPE after 0')
})

test('a log whose reader leaves later: EPIPE from then on', async () => {
  const { child, reader } = spawnWithLog(process.execPath, ['-e', WRITER], { on: 'log', then: 'hang' })
  const words = firstWords(child)
  while (reader?.readNow() === '') await new Promise(setImmediate)
  reader?.close()
  assert.match(await words, /^EPIPE after [1-9]\d+$/)
})

test('a log on a full device: ENOSPC at the first byte', async () => {
  const { child } = spawnWithLog(process.execPath, ['-e', WRITER], { on: 'log', then: 'full' })
  assert.equal(await firstWords(child), 'ENOSPC after 0')
})
