/** `hopgate lint`: places, comments that disable, what is printed, exit codes, and the metrics of a running gateway. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lint } from '../../src/commands/lint.ts'
import { readTraffic } from '../../src/lint/traffic.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { runCli, writeConfig } from '../gateway/process.ts'
import { simple, startTestGateway } from '../support/gateway.ts'

const file = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))

async function run(
  path: string,
  options: { readonly json?: boolean; readonly from?: string } = {},
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', '']
  const stdout = { write: (text: string) => (out += text) }
  const stderr = { write: (text: string) => (err += text) }
  const code = await lint({ file: path, ...options }, { stdout, stderr, env: {} })
  return { code, out, err }
}

const YAML = `defaults:
  timeouts: { request: 70s, connect: 500ms }
upstreams:
  up: { endpoints: ["http://127.0.0.1:1"] }
routes:
  - { name: a, match: { path_prefix: /a }, upstream: up }
  - { name: b, match: { path_prefix: /b }, upstream: up }
  - name: c
    match: { path_prefix: /c }
    upstream: up
    timeouts: { request: 90s, queue: 50ms }
drain: { deadline: 100s }
neighbours: { front: { response_timeout: 60s } }
`
const rulesOf = (out: string) => [...out.matchAll(/^(?:error|warning).* (\S+)$/gm)].map(([, rule]) => rule)

test('each finding names path, line and column; routes that share a value share the finding', async t => {
  const path = writeConfig(t, YAML)
  const { code, out, err } = await run(path)
  assert.deepEqual([code, err], [1, ''])
  assert.equal(
    out.replaceAll(path, 'F'),
    [
      'error    defaults.timeouts.request: the front gives up before our deadline: every slow call becomes its 504 and our 499, and nobody learns which stage was slow (got 70s, neighbours.front.response_timeout 1m); routes a, b [F:2:24] deadline-below-front',
      'warning  defaults.timeouts.connect: a lost SYN is sent again after 1s: until then one lost packet, or one full accept queue, is a 504 (got 500ms, wanted more than 1s); routes a, b, c [F:2:38] connect-survives-lost-syn',
      'error    routes[2].timeouts.request: the front gives up before our deadline: every slow call becomes its 504 and our 499, and nobody learns which stage was slow (got 90s, neighbours.front.response_timeout 1m); route c [F:11:26] deadline-below-front',
      'warning  routes[2].timeouts.queue: so short that a pause of the garbage collector, or a busy neighbour on the machine, makes it fire (got 50ms, wanted at least 100ms); route c [F:11:38] timeouts-above-100ms',
      'F: 2 errors, 2 warnings, by 17 rules',
      '',
    ].join('\n'),
  )
})

test('--json: the same as data', async t => {
  const path = writeConfig(t, YAML)
  const { code, out } = await run(path, { json: true })
  const report = JSON.parse(out)
  assert.equal(code, 1)
  assert.deepEqual([report.file, report.errors, report.warnings, report.findings.length], [path, 2, 2, 4])
  assert.match(report.config_hash, /^[0-9a-f]{12}$/)
  const { message, ...first } = report.findings[0]
  assert.match(message, /^the front gives up/)
  assert.deepEqual(first, {
    rule: 'deadline-below-front',
    severity: 'error',
    path: 'defaults.timeouts.request',
    line: 2,
    column: 24,
    routes: ['a', 'b'],
  })
})

const DISABLED: readonly (readonly [what: string, edit: (yaml: string) => string, left: readonly string[]])[] = [
  [
    'behind a value: for its line',
    yaml => yaml.replace('500ms }', '500ms } # hopgate-lint-disable deadline-below-front, connect-survives-lost-syn'),
    ['deadline-below-front', 'timeouts-above-100ms'],
  ],
  [
    'above a route: for all of the route, also for what it inherits',
    yaml =>
      yaml.replace(
        '  - name: c',
        '  # hopgate-lint-disable timeouts-above-100ms deadline-below-front connect-survives-lost-syn\n\n  # more\n  - name: c',
      ),
    ['deadline-below-front', 'connect-survives-lost-syn'],
  ],
  [
    'above a section: for all that is nested in it',
    yaml => yaml.replace('defaults:', '# hopgate-lint-disable deadline-below-front -- a reason: any\ndefaults:'),
    ['connect-survives-lost-syn', 'deadline-below-front', 'timeouts-above-100ms'],
  ],
  [
    'above routes whose items stand at the same indent',
    () =>
      `# hopgate-lint-disable timeouts-above-100ms\nroutes:\n- { name: r, match: { path: /r }, upstream: up, timeouts: { queue: 1ms } }\nupstreams: { up: { endpoints: ["http://h"] } }\n`,
    [],
  ],
  [
    'for the file, from anywhere in it',
    yaml => `${yaml}# hopgate-lint-disable-file deadline-below-front\n`,
    ['connect-survives-lost-syn', 'timeouts-above-100ms'],
  ],
  [
    'a rule that does not exist: said, and nothing is silenced',
    yaml => yaml.replace('500ms }', '500ms } # hopgate-lint-disable deadline-below-frond'),
    [
      'disable-names-a-rule',
      'deadline-below-front',
      'connect-survives-lost-syn',
      'deadline-below-front',
      'timeouts-above-100ms',
    ],
  ],
  [
    'no rule named: said',
    yaml => `# hopgate-lint-disable\n${yaml}`,
    [
      'disable-names-a-rule',
      'deadline-below-front',
      'connect-survives-lost-syn',
      'deadline-below-front',
      'timeouts-above-100ms',
    ],
  ],
  [
    'in a text, where it is no comment',
    yaml =>
      yaml.replace(
        '    upstream: up\n',
        '    upstream: up\n    request_headers: { set: { X-A: "# hopgate-lint-disable-file deadline-below-front" } }\n',
      ),
    ['deadline-below-front', 'connect-survives-lost-syn', 'deadline-below-front', 'timeouts-above-100ms'],
  ],
]

for (const [what, edit, left] of DISABLED) {
  test(`# hopgate-lint-disable ${what}`, async t => {
    const { out } = await run(writeConfig(t, edit(YAML)))
    assert.deepEqual(rulesOf(out).toSorted(), [...left].toSorted(), out)
  })
}

test('in a block scalar a line that begins with # is text, not a comment', async t => {
  const block =
    '    request_headers:\n      set:\n        X-A: >-\n          a\n          # hopgate-lint-disable-file deadline-below-front\n'
  const { code, err, out } = await run(writeConfig(t, YAML.replace('    upstream: up\n', `    upstream: up\n${block}`)))
  assert.deepEqual([code, err], [1, ''])
  assert.ok(out.includes('deadline-below-front'))
})

test('the configurations of this repository have nothing to be ashamed of', async () => {
  for (const name of ['config/example.yaml', 'config/demo.yaml', 'deploy/compose/hopgate.yaml']) {
    const { code, out } = await run(file(name))
    assert.deepEqual([code, out], [0, `${file(name)}: nothing found, by 17 rules\n`])
  }
})

test('warnings alone: exit 0; a configuration that is wrong: 78 and its errors', async t => {
  const warned = await run(writeConfig(t, YAML.replace('60s', '200s')))
  assert.deepEqual([warned.code, warned.out.includes('0 errors, 2 warnings')], [0, true])
  const wrong = await run(writeConfig(t, YAML.replace('up:', 'down:')))
  assert.deepEqual([wrong.code, wrong.out], [78, ''])
  assert.match(wrong.err, /^routes\[0\]\.upstream: no such upstream/)
})

test('on the command line: --json prints, and prove still takes a file by that name', async t => {
  const path = writeConfig(t, YAML)
  const { code, stdout } = await runCli(t, ['lint', '--json', '-c', path])
  assert.deepEqual([code, JSON.parse(stdout).errors], [1, 2])
  const help = await runCli(t, ['--help'])
  assert.match(help.stdout, /^ {2}hopgate lint +-c FILE/m)
})

async function answering(t: TestContext, status: number, body: string): Promise<string> {
  const server = createServer((_, response) => response.writeHead(status).end(body)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An address where somebody listened a moment ago. */
async function nobody(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return `127.0.0.1:${port}`
}

test('--from what is not there, or is no hopgate: exit 1, and why in one line', async t => {
  const path = writeConfig(t, YAML)
  const reasons = [
    [await answering(t, 200, 'hello'), /not the metrics of a hopgate/],
    [await answering(t, 404, ''), /\/metrics answered 404/],
    [await nobody(), /cannot be read: ECONNREFUSED/],
    ['http://[', /cannot be read/],
  ] as const
  for (const [from, reason] of reasons) {
    const { code, out, err } = await run(path, { from })
    assert.deepEqual([code, out], [1, ''])
    assert.match(err, reason)
    assert.equal(err.trimEnd().split('\n').length, 1)
  }
})

test('--from a running gateway: the patience of its callers, and the idle closes of its upstream', {
  timeout: 60_000,
}, async t => {
  const hanging = await startUpstream({ on: 'headers', then: 'hang' })
  const closing = await startUpstream({ on: 'idle', then: 'fin', afterMs: 1 })
  t.after(() => Promise.all([hanging.close(), closing.close()]))
  const gw = await startTestGateway(t, {
    upstreams: `  slow: { endpoints: ["${hanging.url}"] }\n  closer: { endpoints: ["${closing.url}"] }`,
    routes:
      '  - { name: slow, match: { path_prefix: /slow }, upstream: slow }\n  - { name: closer, match: { path_prefix: / }, upstream: closer }',
  })
  const clients = await Promise.all(Array.from({ length: 20 }, () => openClient(gw.port)))
  for (const client of clients) client.request({ path: '/slow' })
  while ((await gw.metric('hopgate_inflight_requests', { route: 'slow' })) < 20);
  for (const client of clients) client.leave('rst')
  for (let n = 0; n < 20; n++) assert.equal((await gw.line()).outcome, 'client_abort')
  for (let n = 1; n <= 12; n++) {
    assert.equal((await requestOnce(gw.port)).status, 200)
    while ((await gw.metric('hopgate_upstream_idle_closes_total', { upstream: 'closer' })) < n);
  }
  assert.equal(await gw.metric('hopgate_upstream_idle_closes_total', { upstream: 'slow' }), 0)

  const path = writeConfig(
    t,
    `upstreams: { slow: { endpoints: ["${hanging.url}"] }, closer: { endpoints: ["${closing.url}"] } }
routes:
  - { name: slow, match: { path_prefix: /slow }, upstream: slow }
  - { name: closer, match: { path_prefix: / }, upstream: closer }
`,
  )
  const from = `127.0.0.1:${gw.gateway.adminAddress.port}`
  // How long each of them waited is the machine's choice, so whether that is a peak is rules.test.ts's business.
  const traffic = readTraffic(await (await fetch(`http://${from}/metrics`)).text())
  const patience = traffic?.patience.get('slow')
  assert.deepEqual([patience?.count, patience?.buckets.at(-1)], [20, [Infinity, 20]])
  assert.equal(traffic?.patience.get('closer')?.count, 0)
  const { code, out, err } = await run(path, { from })
  assert.deepEqual([code, err], [0, ''])
  assert.ok(rulesOf(out).includes('pool-keepalive-below-seen'), out)
  assert.match(out, /upstreams\.closer\.pool\.keepalive: .*: 12 of 12 connections/)
  assert.deepEqual((await run(path)).out, `${path}: nothing found, by 17 rules\n`)
})

test('connections that our own pool closes are no idle closes of the upstream', { timeout: 30_000 }, async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, '', 'pool: { keepalive: 100ms }'))
  assert.equal((await requestOnce(gw.port)).status, 200)
  while ((await gw.metric('hopgate_pool_connections')) > 0) await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal(await gw.metric('hopgate_upstream_idle_closes_total'), 0)
})
