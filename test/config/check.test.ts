import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { check } from '../../src/commands/check.ts'
import { effectiveTimeouts } from '../../src/config/effective.ts'
import { parseConfig } from '../../src/config/load.ts'

const golden = (name: string) => fileURLToPath(new URL(`../golden/config/${name}`, import.meta.url))

function run(file: string): { readonly code: number; readonly out: string; readonly err: string } {
  let [out, err] = ['', '']
  const stdout = { write: (text: string) => (out += text) }
  const stderr = { write: (text: string) => (err += text) }
  const code = check({ file }, { stdout, stderr, env: {} })
  return { code, out, err }
}

test('a good file: exit 0, the effective timeouts with origin and covered marks on stdout, nothing on stderr', () => {
  const { code, out, err } = run(golden('covered.yaml'))
  assert.deepEqual([code, err], [0, ''])
  assert.equal(
    out,
    `listen 0.0.0.0:8080
  listen.timeouts.headers     10s     built-in
  listen.timeouts.body_idle   10s     built-in
  listen.timeouts.write_idle  10s     built-in
  listen.timeouts.keepalive   75s     built-in
  listen.min_body_rate        240B/s  after 5s

route hasty: path_prefix /hasty -> upstream a
  queue             1s      built-in
  connect           2s      built-in
  request_write     10s     built-in   covered by request 3s
  response_headers  12s     defaults   covered by request 3s
  body_idle         10s     built-in   covered by request 3s
  request           3s      routes[0]
  on_client_abort   cancel  built-in
  limits.body       10MiB   built-in
  limits.in_flight  1024    built-in

route patient: path_prefix /patient -> upstream a
  queue             1s      built-in
  connect           2s      built-in
  request_write     10s     built-in
  response_headers  12s     defaults
  body_idle         10s     built-in
  request           15s     built-in
  on_client_abort   cancel  built-in
  limits.body       10MiB   built-in
  limits.in_flight  1024    built-in

warnings
  routes[0].timeouts: queue, connect and response_headers together exceed request, whose deadline can then fire in their stead (got 15s, request 3s from routes[0]) [line 8]
`,
  )
})

test('a bad file: exit 78, one line for each error on stderr with file, line and column, nothing on stdout', () => {
  const file = golden('bad-everything-at-once.yaml')
  const { code, out, err } = run(file)
  assert.deepEqual([code, out], [78, ''])
  const lines = err.trimEnd().split('\n')
  assert.equal(lines.length, 9)
  assert.ok(lines[0]?.startsWith('listen.address: not an address with a port (got "nowhere", allowed '), lines[0])
  assert.ok(lines[0]?.endsWith(` [${file}:1:20]`), lines[0])
})

test('a file that is not there: exit 78 and one line', () => {
  const { code, out, err } = run('/no/such/hopgate.yaml')
  assert.deepEqual([code, out], [78, ''])
  assert.match(
    err,
    /^\/no\/such\/hopgate\.yaml: the configuration cannot be read \(got ENOENT, allowed a readable YAML file\)/,
  )
})

test('a folder in place of a file: exit 78 and one line', () => {
  assert.match(run(golden('')).err, /cannot be read \(got EISDIR/)
})

test('the ten timeouts of a route: off is Infinity and covered by nothing, request covers and is not covered', () => {
  const text = `
defaults: { timeouts: { body_idle: off } }
upstreams: { a: { endpoints: ["http://a"] } }
routes:
  - { name: a, match: { path: / }, upstream: a, timeouts: { request: 2s } }
`
  const result = parseConfig(text, { env: {}, baseDir: '/' })
  assert.ok(result.ok)
  const [route] = result.config.routes
  assert.ok(route)
  const timeouts = effectiveTimeouts(route, result.config.listen)
  assert.equal(timeouts.length, 10)
  assert.deepEqual(
    timeouts.filter(({ name }) => !name.startsWith('listen.')),
    [
      { name: 'queue', ms: 1000, origin: 'built-in', covered: false },
      { name: 'connect', ms: 2000, origin: 'built-in', covered: true },
      { name: 'request_write', ms: 10_000, origin: 'built-in', covered: true },
      { name: 'response_headers', ms: 10_000, origin: 'built-in', covered: true },
      { name: 'body_idle', ms: Number.POSITIVE_INFINITY, origin: 'defaults', covered: false },
      { name: 'request', ms: 2000, origin: 'routes[0]', covered: false },
    ],
  )
})

test('the hash is of the text before expansion: the same for any environment, another for another text', () => {
  const text =
    'upstreams: { a: { endpoints: ["http://$' + '{HOST}"] } }\nroutes: [{ name: a, match: { path: / }, upstream: a }]'
  const hashes = [
    parseConfig(text, { env: { HOST: 'one' }, baseDir: '/' }),
    parseConfig(text, { env: { HOST: 'two' }, baseDir: '/' }),
    parseConfig(`${text}\n`, { env: { HOST: 'one' }, baseDir: '/' }),
  ].map(result => (result.ok ? result.config.hash : ''))
  assert.match(hashes[0] ?? '', /^[0-9a-f]{12}$/)
  assert.equal(hashes[0], hashes[1])
  assert.notEqual(hashes[0], hashes[2])
})
