/** What is small enough to be held to its definition. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flat, lengthOf } from '../../src/http1/fields.ts'

test('a length is what the grammar says, and a number that is exact', () => {
  const grammar = /^(?:0|[1-9]\d{0,14})$/
  const nines = '9'.repeat(15)
  const texts = [
    '',
    '0',
    '00',
    '01',
    '7',
    '42',
    nines,
    `${nines}9`,
    '1'.repeat(16),
    '+1',
    '-1',
    '1.0',
    ' 1',
    '1 ',
    '1e3',
  ]
  texts.push('0x10', '１', '1/', '1:', '/1', ':1', '12a', '\u0660')
  for (const text of texts) assert.equal(lengthOf(text), grammar.test(text) ? Number(text) : -1, JSON.stringify(text))
})

test('a flat text is the same in latin1', () => {
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, code) => code))
  assert.equal(flat(all + all), all + all)
})
