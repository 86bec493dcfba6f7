import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FieldCopy } from '../../src/http1/field-copy.ts'
import { fieldLines, parseFields } from '../../src/http1/fields.ts'

const BEGIN = 'HTTP/1.1 200 OK\r\n'
// biome-ignore format: lines
const LINES = [
  'A: b', 'Server: nginx', 'x:y', 'x:  y', 'x:\ty', 'x: \ty', 'x: y ', 'x: y\t', 'x: y \t', 'x: y\t ', 'x:', 'x: ', 'x:  ', 'x:\t', 'x: \t ',
  'x: a b', 'x: a:b', 'x: : ', 'x::', 'x: \x80\xff', "!#$%&'*+-.^_`|~9z: ~", 'Empty: ', 'Set-Cookie: a=b; Path=/',
]

function copied(head: string, from: number, keep: (i: number) => boolean): { copy: string; lines: string } {
  const fields = parseFields(head, from, 256)
  const copy = new FieldCopy(fields)
  const kept: string[] = []
  const flat = fields.flat()
  for (let i = 0; i < fields.count; i++) {
    if (!keep(i)) continue
    copy.add(i)
    kept.push(flat[2 * i] as string, flat[2 * i + 1] as string)
  }
  return { copy: copy.text, lines: fieldLines(kept) }
}

test('whichever of up to four fields are kept, the copy is what was read of them, however they were written', () => {
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let round = 0; round < 20_000; round++) {
    const section = Array.from({ length: random(5) }, () => `${LINES[random(LINES.length)]}\r\n`).join('')
    const kept = random(16)
    const begin = random(2) === 0 ? BEGIN : ''
    const { copy, lines } = copied(begin + section, begin.length, i => ((kept >> i) & 1) === 1)
    assert.equal(copy, lines, JSON.stringify([begin, section, kept]))
  }
})

test('of plain lines that follow one another the copy is one piece of the head', () => {
  const fields = parseFields(`${BEGIN}A: b\r\nC: d\r\nE: f\r\n`, BEGIN.length, 256)
  assert.deepEqual(
    [0, 1, 2].map(i => fields.isPlain(i)),
    [true, true, true],
  )
  assert.equal(copied(fields.text, BEGIN.length, () => true).copy, 'A: b\r\nC: d\r\nE: f\r\n')
})

test('names and values are read without the blanks around them, and written with one space', () => {
  for (const line of LINES) {
    const fields = parseFields(`${line}\r\n`, 0, 256)
    const [name = '', value = ''] = fields.flat()
    assert.equal(fields.count, 1)
    assert.equal(fields.nameLength(0), name.length)
    assert.equal(line.startsWith(`${name}:`), true)
    // RFC 9110 section 5.5; a tab at its end stays.
    assert.equal(value, line.slice(name.length + 1).replace(/^[ \t]+| +$/g, ''))
    assert.equal(fields.line(0), `${name}: ${value}\r\n`)
    assert.equal(fields.isPlain(0), fields.line(0) === `${line}\r\n`, JSON.stringify(line))
  }
})
