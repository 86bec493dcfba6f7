import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { repositoryFile as file, generated } from '../../src/config/generated.ts'
import { loadConfig, parseConfig } from '../../src/config/load.ts'

for (const [name, text] of generated()) {
  test(`${name} is what the schema gives (else: npx tsx src/config/generate.ts)`, () => {
    assert.equal(readFileSync(file(name), 'utf8'), text)
  })
}

function valid(result: ReturnType<typeof parseConfig>): Config {
  assert.ok(result.ok, JSON.stringify(result))
  return result.config
}

test('the example writes out the built-ins: without these lines the same values hold', () => {
  const example = valid(loadConfig(file('config/example.yaml'), {}))
  const bare = valid(
    parseConfig(
      'upstreams: { a: { endpoints: ["http://a"] } }\nroutes: [{ name: a, match: { path: / }, upstream: a }]',
      {
        env: {},
        baseDir: '/',
      },
    ),
  )
  const [upstream, bareUpstream] = [example.upstreams[0], bare.upstreams[0]]
  const [events, bareRoute] = [example.routes[1], bare.routes[0]]
  assert.ok(upstream && bareUpstream && events && bareRoute)
  const { timeouts, ...listen } = example.listen
  const { timeouts: bareTimeouts, ...bareListen } = bare.listen
  assert.deepEqual(listen, bareListen)
  assert.deepEqual(
    Object.values(timeouts).map(each => each.value),
    Object.values(bareTimeouts).map(each => each.value),
  )
  assert.deepEqual([example.admin, example.log, example.drain], [bare.admin, bare.log, bare.drain])
  assert.deepEqual(
    [upstream.balance, upstream.pool, upstream.tls],
    [bareUpstream.balance, bareUpstream.pool, bareUpstream.tls],
  )
  for (const key of ['queue', 'connect', 'requestWrite'] as const) {
    assert.equal(events.timeouts[key].value, bareRoute.timeouts[key].value, key)
    assert.deepEqual([events.timeouts[key].origin, bareRoute.timeouts[key].origin], ['defaults', 'built-in'], key)
  }
  assert.equal(events.limits.bodyBytes.value, bareRoute.limits.bodyBytes.value)
  assert.equal(events.limits.inFlight.value, bareRoute.limits.inFlight.value)
  assert.equal(example.warnings.length, 0)
})

test('the reference names every key of the schema that editors get', () => {
  const reference = readFileSync(file('docs/CONFIGURATION.md'), 'utf8')
  const json = readFileSync(file('config/hopgate.schema.json'), 'utf8')
  const keys = new Set<string>()
  JSON.parse(json, (key, value) => {
    if (key === 'properties') for (const each of Object.keys(value)) keys.add(each)
    return value
  })
  assert.ok(keys.size > 40)
  for (const key of keys) assert.ok(reference.includes(`| \`${key}\` |`), key)
})
