import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FieldActions } from '../../src/exchange/field-actions.ts'
import { parseFields } from '../../src/http1/fields.ts'

const LONG = 'x'.repeat(80)

const ACTIONS = [
  ['te', 'drop'],
  ['content-length', 'length'],
  ['-odd', 'odd'],
  [LONG, 'long'],
] as const

type Action = (typeof ACTIONS)[number][1] | 'lookalike'

function acted(name: string, ofLookalikes?: Action): Action | undefined {
  const actions = new FieldActions<Action>(ACTIONS, ofLookalikes)
  return actions.of(parseFields(`A: b\r\n${name}: x\r\n`, 0, 10), 1)
}

test('a name is found in any case, and only whole', () => {
  for (const [name, action] of ACTIONS) {
    for (const spelling of [name, name.toUpperCase(), name.replace(/^./, first => first.toUpperCase())]) {
      assert.equal(acted(spelling), action, spelling)
      assert.equal(acted(`${spelling}x`), undefined, spelling)
      assert.equal(acted(`x${spelling}`), undefined, spelling)
    }
    assert.equal(acted(name.slice(0, -1)), undefined, name)
  }
})

test('names of the same length and first letter are told apart', () => {
  for (const name of ['tx', 'Th', 'content-lengtk', 'Content-Length'.replace('L', 'M'), `x${'y'.repeat(79)}`]) {
    assert.equal(acted(name), undefined, name)
  }
})

test('with _ in the place of - a name is a lookalike, where those are asked for', () => {
  for (const name of ['content_length', 'CONTENT_LENGTH', '_odd']) {
    assert.equal(acted(name), undefined, name)
    assert.equal(acted(name, 'lookalike'), 'lookalike', name)
  }
  assert.equal(acted('content_lengtk', 'lookalike'), undefined)
  assert.equal(acted('content-length', 'lookalike'), 'length')
})

test('the later of two actions with one name counts', () => {
  const actions = new FieldActions<string>([
    ['via', 'first'],
    ['via', 'second'],
  ])
  assert.equal(actions.of(parseFields('Via: x\r\n', 0, 10), 0), 'second')
})
