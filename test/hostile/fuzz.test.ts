/** Ten seconds of fuzzing, from a seed that is fixed: what it finds, it finds every time. `npm run fuzz` goes on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz } from './fuzz/run.ts'

test('wounded messages from both sides: alive, in balance, nothing malformed passed on, no answer to another client', async () => {
  const { exchanges } = await fuzz(10, 1, () => {})
  assert.ok(exchanges > 100, `${exchanges} exchanges`)
})
