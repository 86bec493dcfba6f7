/** What the environment put into a configuration is in no message, wherever it was put by mistake. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseDocument, visit } from 'yaml'
import { parseConfig } from '../../src/config/load.ts'
import { renderIssue } from '../../src/config/render.ts'

const EVERYTHING = fileURLToPath(new URL('../golden/config/everything.yaml', import.meta.url))
const REFERENCE = '$' + '{TOKEN}'
const SECRETS = [
  'a-secret-name',
  `secret "quoted" ${'and long '.repeat(20)}`,

  'hunter2 not to be shown',
  '5secret',
  'secret.example:99999',
  'http://secret.example:x/',
  '\u0001secret',
]

/** The configuration with one scalar after the other replaced by a reference. */
function* misplaced(): Generator<{ readonly replaced: string; readonly yaml: string }> {
  const text = readFileSync(EVERYTHING, 'utf8')
  let count = 0
  visit(parseDocument(text), { Scalar: key => void (key === 'key' || count++) })
  for (let index = 0; index < count; index++) {
    const document = parseDocument(text)
    let seen = 0
    let replaced = ''
    visit(document, {
      Scalar(key, node) {
        if (key === 'key' || seen++ !== index) return
        replaced = String(node.value)
        node.value = REFERENCE
        node.type = 'QUOTE_DOUBLE'
      },
    })
    yield { replaced, yaml: document.toString() }
  }
}

test('a secret in the place of any value: the messages name the reference, not what it stands for', () => {
  let messages = 0
  for (const secret of SECRETS) {
    for (const { replaced, yaml } of misplaced()) {
      const parsed = parseConfig(yaml, { env: { TOKEN: secret }, baseDir: '/' })
      const said = (parsed.ok ? parsed.config.warnings : parsed.errors).map(issue => renderIssue(issue)).join('\n')
      if (!parsed.ok) messages++
      assert.ok(!said.includes('secret') && !said.includes('hunter2'), `${replaced}: ${said}`)
    }
  }
  assert.ok(messages > 100, `${messages} of them were refused`)
})
