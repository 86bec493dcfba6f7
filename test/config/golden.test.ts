/**
 * Every `test/golden/config/NAME.yaml` has its expected outcome beside it: `NAME.json`, the parsed form with Infinity as
 * "off", or `NAME.errors`, one `line:col path: message` for each. UPDATE_GOLDEN=1 writes them anew: then read the diff.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type ConfigResult, parseConfig } from '../../src/config/load.ts'

const FOLDER = fileURLToPath(new URL('../golden/config/', import.meta.url))
const { UPDATE_GOLDEN } = process.env

const GOLDEN_ENV = {
  HOST: '127.0.0.1',
  PORT: '9000',
  MAX: '77',
  ACCESS: 'false',
  EMPTY: '',
  TOKEN: '0123',
  TOKEN_TEXT: 'plenty',
  STRUCTURE: 'a: [b, "c"] # d',
}

function outcome(result: ConfigResult): { readonly extension: string; readonly text: string } {
  if (!result.ok) {
    const lines = result.errors.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}\n`)
    return { extension: 'errors', text: lines.join('') }
  }
  const { hash: _, ...config } = result.config
  const json = JSON.stringify(config, (_key, value) => (value === Number.POSITIVE_INFINITY ? 'off' : value), 2)
  return { extension: 'json', text: `${json.replaceAll(FOLDER, '<folder>/')}\n` }
}

const names = readdirSync(FOLDER)
  .filter(file => file.endsWith('.yaml'))
  .map(file => file.slice(0, -'.yaml'.length))

for (const name of names) {
  test(`${name}.yaml reads as its golden file says`, () => {
    const text = readFileSync(`${FOLDER}${name}.yaml`, 'utf8')
    const got = outcome(parseConfig(text, { env: GOLDEN_ENV, baseDir: FOLDER }))
    const file = `${FOLDER}${name}.${got.extension}`
    if (UPDATE_GOLDEN === '1') {
      for (const extension of ['json', 'errors']) rmSync(`${FOLDER}${name}.${extension}`, { force: true })
      writeFileSync(file, got.text)
    }
    assert.ok(existsSync(file), `expected another outcome than:\n${got.text}`)
    assert.equal(got.text, readFileSync(file, 'utf8'))
  })
}

test('names that begin with bad- are the ones with errors', () => {
  for (const name of names) assert.equal(existsSync(`${FOLDER}${name}.errors`), name.startsWith('bad-'), name)
})

test('every message says what was got and what is allowed', () => {
  for (const name of names.filter(each => each.startsWith('bad-'))) {
    for (const line of readFileSync(`${FOLDER}${name}.errors`, 'utf8').trimEnd().split('\n')) {
      if (!line.includes('not valid YAML')) assert.match(line, /^\d+:\d+ \S.*: .+ \(got .+, allowed .+\)$/)
    }
  }
})
