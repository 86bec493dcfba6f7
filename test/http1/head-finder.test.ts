import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOfHead } from '../../src/http1/head-finder.ts'

test('the end of a head is where Buffer.indexOf finds it, whatever CR and LF stand before it', () => {
  // All texts of up to nine bytes of these three kinds, from each place on, up to each place.
  for (let length = 0; length <= 9; length++) {
    for (let n = 0; n < 3 ** length; n++) {
      const bytes = Buffer.alloc(length)
      for (let i = 0, rest = n; i < length; i++, rest = Math.floor(rest / 3))
        bytes[i] = [13, 10, 97][rest % 3] as number
      for (const from of [0, 1, 3]) {
        for (const end of [length, length - 2]) {
          const expected = bytes.subarray(0, Math.max(0, end)).indexOf('\r\n\r\n', from)
          if (endOfHead(bytes, from, end) !== expected)
            assert.fail(`${JSON.stringify(bytes.toString())}, ${from}, ${end}`)
        }
      }
    }
  }
})
