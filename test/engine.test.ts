/** What V8 is told at start must be something that this V8 knows, and that does it no harm while it runs. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { engineFlags } from '../src/engine.ts'

const run = promisify(execFile)

test('V8 knows each of the flags, and only one core has the collector work in steps', async () => {
  const { stdout } = await run(process.execPath, ['--v8-options'], { maxBuffer: 1 << 24 })
  for (const flag of engineFlags(1)) {
    const name = flag.replace(/^--no-/, '')
    assert.match(stdout, new RegExp(`^ +--${name} `, 'm'), `this V8 has no --${name}`)
  }
  const alone = engineFlags(1).filter(flag => !engineFlags(2).includes(flag))
  assert.deepEqual(alone, ['--no-concurrent-marking'])
  assert.deepEqual(engineFlags(8), engineFlags(2))
})

test('V8 collects to the end with flags that were set while it ran', async () => {
  const work = `
    for (const flag of ${JSON.stringify(engineFlags(1))}) require('node:v8').setFlagsFromString(flag)
    const kept = []
    for (let i = 0; i < 3e6; i++) kept[i % 100_000] = { pair: [i, i + 1], text: 'x' + i, inner: { i } }
    process.stdout.write('done\\n')
  `
  const { stdout } = await run(process.execPath, ['--trace-gc', '-e', work], { maxBuffer: 1 << 24 })
  assert.match(stdout, /^done$/m)
  assert.match(stdout, /Mark-Compact/, 'no full collection')
})
