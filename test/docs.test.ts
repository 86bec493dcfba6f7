/** The documentation keeps up: every word of the code that operators meet is explained, links lead somewhere. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../src/config/load.ts'
import { OUTCOMES, STAGES, TIMEOUTS } from '../src/outcome.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const text = (file: string): string => readFileSync(join(root, file), 'utf8')
const below = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(file => join(folder, file))

const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...below('docs').filter(file => file.endsWith('.md'))]

/** As GitHub makes them: lower case, punctuation dropped, spaces to hyphens; headings only, not what code blocks hold. */
function anchorsOf(markdown: string): Set<string> {
  const prose = markdown.replaceAll(/^```.*?^```/gms, '')
  return new Set(
    [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

test('OUTCOMES.md has a heading and a row in its table for every outcome, and for no other', () => {
  const page = text('docs/OUTCOMES.md')
  const headings = [...page.matchAll(/^## `(\w+)`$/gm)].map(([, name]) => name)
  assert.deepEqual(headings, Object.keys(OUTCOMES))
  const rows = new Map([...page.matchAll(/^\| \[`(\w+)`\]\(#\w+\) \|(.*)\|$/gm)].map(([, name, row]) => [name, row]))
  assert.deepEqual([...rows.keys()], Object.keys(OUTCOMES))
  for (const [name, { level }] of Object.entries(OUTCOMES)) {
    assert.ok(rows.get(name)?.includes(` ${level}`), `${name} is logged as ${level}`)
  }
})

test('OUTCOMES.md shows the status and the party that the code gives each outcome', () => {
  const page = text('docs/OUTCOMES.md')
  // Never sent: these end an exchange whose status is already out. The party of a deadline depends on its stage.
  const asSent = new Set(['body_idle_timeout', 'truncated'])
  for (const [name, { status, party }] of Object.entries(OUTCOMES)) {
    const row = new RegExp(`^\\| \\[\`${name}\`\\].*$`, 'm').exec(page)?.[0] ?? ''
    if (status !== 0) assert.ok(row.includes(asSent.has(name) ? 'as sent' : String(status)), `${name}: ${status}`)
    assert.ok(row.includes(party), `${name}: ${party}`)
  }
})

test('the documentation has every stage and every timeout', () => {
  const outcomes = text('docs/OUTCOMES.md')
  for (const stage of STAGES) assert.ok(outcomes.includes(`\`${stage}\``), stage)
  const metrics = text('docs/METRICS.md')
  const configuration = text('docs/CONFIGURATION.md')
  for (const timeout of TIMEOUTS) {
    assert.ok(metrics.includes(`\`${timeout}\``), timeout)
    assert.ok(configuration.includes(`\`${timeout}\``), timeout)
  }
})

test('METRICS.md has every metric with the type it is registered as, and no page has one that does not exist', () => {
  const registered = new Map(
    below('src/observe')
      .map(text)
      .flatMap(code => [...code.matchAll(/register(Counter|Gauge|Histogram)\(\s*registry,\s*'(hopgate_\w+)'/g)])
      .map(([, type = '', name = '']) => [name, type.toLowerCase()]),
  )
  assert.ok(registered.size > 20)
  const documented = [...text('docs/METRICS.md').matchAll(/^\| `(hopgate_\w+)` \| (\w+) \|/gm)]
  assert.deepEqual(
    documented.map(([, name, type]) => `${name} ${type}`).sort(),
    [...registered].map(([name, type]) => `${name} ${type}`).sort(),
  )
  for (const page of [...pages, 'src/demo/things-to-try.ts']) {
    for (const [word] of text(page).matchAll(/\bhopgate_[a-z]\w*/g)) {
      if (word === 'hopgate_') continue
      assert.ok(registered.has(word.replace(/_(bucket|sum|count)$/, '')) || registered.has(word), `${page}: ${word}`)
    }
  }
})

test('links between the pages lead somewhere, and so do their anchors', () => {
  for (const page of pages) {
    const markdown = text(page).replaceAll(/^```.*?^```/gms, '')
    for (const [, target = ''] of markdown.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      assert.ok(existsSync(join(root, file)), `${page}: ${target}`)
      if (anchor !== undefined) assert.ok(anchorsOf(text(file)).has(anchor), `${page}: no such anchor: ${target}`)
    }
  }
})

test('every page of docs/ can be reached from the README', () => {
  const reached = new Set<string>()
  const visit = (page: string): void => {
    if (reached.has(page)) return
    reached.add(page)
    for (const [, target = ''] of text(page).matchAll(/\]\(([^)#\s]+\.md)[^)]*\)/g)) visit(join(dirname(page), target))
  }
  visit('README.md')
  assert.deepEqual(
    pages.filter(page => !reached.has(page)),
    [],
  )
})

test("the README's configuration is complete, and so is the demo's", () => {
  for (const file of ['config/demo.yaml', 'config/example.yaml']) {
    const result = loadConfig(join(root, file), {})
    assert.ok(result.ok, file)
  }
  const demo = loadConfig(join(root, 'config/demo.yaml'), {})
  assert.deepEqual(demo.ok && demo.config.warnings, [])
  const [, yaml = ''] = /^```yaml\n(.*?)^```/ms.exec(text('README.md')) ?? []
  assert.match(yaml, /^upstreams:/)
})

test('package-lock.json has every package that it names, those for other platforms too: npm ci refuses it otherwise', () => {
  interface Entry {
    readonly dependencies?: Record<string, string>
    readonly optionalDependencies?: Record<string, string>
  }
  const { packages } = JSON.parse(text('package-lock.json')) as { packages: Record<string, Entry> }
  const missing = Object.entries(packages).flatMap(([place, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies }).filter(
      name => !(`${place}/node_modules/${name}` in packages) && !(`node_modules/${name}` in packages),
    ),
  )
  assert.deepEqual(missing, [])
})

test('.ci/run is a program, and calls what package.json has', () => {
  assert.ok((statSync(join(root, '.ci/run')).mode & 0o111) !== 0)
  const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> }
  for (const script of ['check', 'test', 'start', 'build']) assert.ok(script in scripts, script)
})
