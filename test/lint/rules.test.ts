/** Every rule has configurations that trip it and ones that do not; what it prevents is written down. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseConfig } from '../../src/config/load.ts'
import { type LintFinding, lint, RULES } from '../../src/lint/lint.ts'
import { readTraffic } from '../../src/lint/traffic.ts'

interface Spec {
  readonly listen?: string
  readonly drain?: string
  /** Of the one route and of the one upstream, as flow mappings without braces. */
  readonly route?: string
  readonly upstream?: string
  readonly neighbours?: string
  /** Of a running gateway. */
  readonly metrics?: string
}

function findings({
  listen = '',
  drain = '',
  route = '',
  upstream = '',
  neighbours = '',
  metrics,
}: Spec): readonly LintFinding[] {
  const text = `
listen: { ${listen} }
drain: { ${drain} }
upstreams: { up: { endpoints: ["http://127.0.0.1:1", "http://127.0.0.1:2"], ${upstream} } }
routes: [{ name: r, match: { path_prefix: / }, upstream: up, ${route} }]
neighbours: { ${neighbours} }
`
  const result = parseConfig(text, { env: {}, baseDir: '/' })
  assert.ok(result.ok, JSON.stringify(result))
  const traffic = metrics === undefined ? null : readTraffic(`hopgate_config_info{version="0"} 1\n${metrics}`)
  return lint(result, traffic)
}

/** `hopgate_client_abort_age_seconds` of route r: how many left in each bucket of its own. */
function ages(left: Readonly<Record<string, number>>): string {
  let sum = 0
  const bounds = ['0.1', '0.25', '0.5', '0.75', '1', '2', '10', '+Inf']
  return bounds
    .map(le => {
      sum += left[le] ?? 0
      return `hopgate_client_abort_age_seconds_bucket{le="${le}",route="r"} ${sum}`
    })
    .join('\n')
}

function pool(opened: number, idleCloses: number, stale: number): string {
  return [
    `hopgate_connection_reuse_total{upstream="up",reused="true"} 100000`,
    `hopgate_connection_reuse_total{upstream="up",reused="false"} ${opened}`,
    `hopgate_upstream_idle_closes_total{upstream="up"} ${idleCloses}`,
    `hopgate_failures_total{route="r",upstream="up",outcome="stale_connection",stage="request_write",party="upstream"} ${stale}`,
    `hopgate_failures_total{route="r",upstream="up",outcome="reset",stage="response_headers",party="upstream"} 5000`,
  ].join('\n')
}

/** What the rule says of each: its severity, or nothing. */
interface Case {
  readonly error?: readonly Spec[]
  readonly warning?: readonly Spec[]
  readonly silent: readonly Spec[]
}

const front = (value: string) => `front: { response_timeout: ${value} }`
const idle = (value: string) => `front: { keepalive_idle: ${value} }`
const grace = (value: string) => `kubernetes: { termination_grace_period: ${value} }`
const up = (values: string) => `upstreams: { up: { ${values} } }`
const timeouts = (values: string) => `timeouts: { ${values} }`

const CASES: Readonly<Record<string, Case>> = {
  'deadline-below-front': {
    error: [
      { neighbours: front('15s') },
      { neighbours: front('5s'), route: timeouts('request: 90s') },
      { neighbours: front('5s'), upstream: timeouts('request: 8s') },
    ],
    warning: [{ neighbours: front('15100ms') }, { neighbours: front('15499ms') }],
    silent: [
      { neighbours: front('15500ms') },
      {},
      { neighbours: front('60s') },
      { neighbours: front('5s'), route: 'streaming: true' },
    ],
  },
  'stream-idle-below-front': {
    warning: [
      { neighbours: front('60s'), route: 'streaming: true' },
      { neighbours: front('60s'), route: `streaming: true, ${timeouts('body_idle: 60s')}` },
    ],
    silent: [
      { neighbours: front('60s'), route: `streaming: true, ${timeouts('body_idle: 59s')}` },
      { neighbours: front('60s'), route: timeouts('request: 10m, body_idle: 2m') },
      { route: 'streaming: true' },
    ],
  },
  'client-keepalive-above-front': {
    error: [{ neighbours: idle('75s') }, { neighbours: idle('60s'), listen: timeouts('keepalive: 5s') }],
    warning: [{ neighbours: idle('74500ms') }],
    silent: [{ neighbours: idle('74s') }, { neighbours: idle('60s') }, { listen: timeouts('keepalive: 5s') }],
  },
  'front-is-stated': {
    warning: [
      { listen: 'trusted_proxies: [10.0.0.0/8]' },
      { listen: 'trusted_proxies: [10.0.0.0/8]', neighbours: front('60s') },
    ],
    silent: [
      {
        listen: 'trusted_proxies: [10.0.0.0/8]',
        neighbours: 'front: { response_timeout: 60s, keepalive_idle: 60s }',
      },
      {},
    ],
  },
  'drain-inside-grace': {
    error: [{ neighbours: grace('25s') }, { neighbours: grace('30s'), drain: 'delay: 10s, deadline: 30s' }],
    warning: [{ neighbours: grace('25500ms') }],
    silent: [{ neighbours: grace('26s') }, { drain: 'delay: 10s, deadline: 300s' }],
  },
  'drain-covers-deadline': {
    warning: [{ route: timeouts('request: 21s') }, { drain: 'deadline: 10s' }],
    silent: [{ route: timeouts('request: 20s') }, { route: 'streaming: true' }, {}],
  },
  'stages-within-deadline': {
    warning: [
      { route: timeouts('request: 12s') },
      { route: timeouts('request: 3s, queue: 1s, connect: 1s, response_headers: 2s') },
    ],
    silent: [
      { route: timeouts('request: 13s') },
      { route: timeouts('request: 3s, queue: 1s, connect: 1s, response_headers: 1s') },
      { route: 'streaming: true' },
      { route: timeouts('response_headers: off') },
    ],
  },
  'deadline-not-off': {
    error: [{ route: timeouts('request: off') }, { upstream: timeouts('request: off') }],
    silent: [{ route: timeouts('request: 1h') }, { route: 'streaming: true' }],
  },
  'streaming-has-body-idle': {
    error: [{ route: `streaming: true, ${timeouts('body_idle: off')}` }],
    silent: [{ route: 'streaming: true' }, { route: timeouts('body_idle: off') }],
  },
  'timeouts-above-100ms': {
    warning: [
      { route: timeouts('queue: 99ms') },
      { route: timeouts('connect: 20ms') },
      { listen: timeouts('headers: 50ms') },
      { upstream: timeouts('request: 90ms, response_headers: 80ms') },
    ],
    silent: [{ route: timeouts('queue: 100ms') }, { listen: timeouts('body_idle: off') }],
  },
  'connect-survives-lost-syn': {
    warning: [{ route: timeouts('connect: 1s') }, { upstream: timeouts('connect: 250ms') }],
    silent: [{ route: timeouts('connect: 1001ms') }, {}],
  },
  'finish-is-bounded': {
    warning: [
      { route: 'streaming: true, on_client_abort: finish' },
      { route: timeouts('request: off'), upstream: 'on_client_abort: finish' },
    ],
    silent: [{ route: 'on_client_abort: finish' }, { route: 'streaming: true' }],
  },
  'pool-keepalive-below-upstream': {
    error: [
      { neighbours: up('keepalive_idle: 4s') },
      { neighbours: up('keepalive_idle: 2s') },
      { neighbours: up('keepalive_idle: 5s'), upstream: 'pool: { keepalive: 60s }' },
    ],
    warning: [{ neighbours: up('keepalive_idle: 4499ms') }, { neighbours: up('keepalive_idle: 4001ms') }],
    silent: [{ neighbours: up('keepalive_idle: 4500ms') }, { upstream: 'pool: { keepalive: 60s }' }],
  },
  'pool-within-accept-backlog': {
    warning: [
      { neighbours: up('accept_backlog: 127') },
      { neighbours: up('accept_backlog: 511'), upstream: 'pool: { max_connections: 512 }' },
    ],
    silent: [{ neighbours: up('accept_backlog: 128') }, { upstream: 'pool: { max_connections: 4096 }' }],
  },
  'response-headers-above-upstream': {
    warning: [
      { neighbours: up('request_timeout: 10s') },
      { neighbours: up('request_timeout: 9s'), route: timeouts('request: 8s') },
    ],
    silent: [{ neighbours: up('request_timeout: 9s') }, { route: timeouts('response_headers: 1s') }],
  },
  'callers-outlast-deadline': {
    warning: [{ metrics: ages({ '1': 40, '2': 20 }) }, { metrics: ages({ '0.1': 29, '10': 20 }) }],
    silent: [
      { metrics: ages({ '1': 19 }) },
      { metrics: ages({ '0.1': 500 }) },
      { metrics: ages({ '0.5': 30, '0.75': 30, '1': 30, '2': 30 }) },
      { metrics: ages({ '1': 40 }), route: timeouts('request: 700ms, queue: 200ms') },
      { metrics: ages({ '1': 40 }), route: 'streaming: true' },
      {},
    ],
  },
  'pool-keepalive-below-seen': {
    warning: [{ metrics: pool(100, 20, 0) }, { metrics: pool(40, 9, 1) }],
    silent: [{ metrics: pool(40, 9, 0) }, { metrics: pool(1000, 150, 3) }, { metrics: '' }],
  },
}

test('there is a case here for every rule, and for no other', () => {
  assert.deepEqual(Object.keys(CASES).sort(), RULES.map(({ id }) => id).sort())
  assert.ok(RULES.length >= 10)
})

for (const { id } of RULES) {
  const { error = [], warning = [], silent } = CASES[id] as Case
  test(`${id}: trips where the relation is broken, and only there`, () => {
    assert.ok(error.length + warning.length > 0 && silent.length > 0)
    const said = (spec: Spec) =>
      [
        ...new Set(
          findings(spec)
            .filter(({ rule }) => rule === id)
            .map(({ severity }) => severity),
        ),
      ].join()
    for (const spec of error) assert.equal(said(spec), 'error', JSON.stringify(spec))
    for (const spec of warning) assert.equal(said(spec), 'warning', JSON.stringify(spec))
    for (const spec of silent) assert.equal(said(spec), '', JSON.stringify(spec))
  })
}

test('every finding says what it got, and most of them what is wanted', () => {
  for (const { error = [], warning = [] } of Object.values(CASES)) {
    for (const finding of [...error, ...warning].flatMap(findings)) {
      assert.match(finding.message, /\(got .+\)$/, finding.rule)
      assert.ok(finding.path !== '' && finding.line >= 1 && finding.column >= 1, finding.rule)
    }
  }
})

test('docs/LINT.md has a section for every rule, in the order of the code, with its severity and the incident it prevents', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/LINT.md', import.meta.url)), 'utf8')
  const sections = page.split(/^### /m).slice(1)
  assert.deepEqual(
    sections.map(section => /^`(.+)`$/m.exec(section)?.[1]),
    RULES.map(({ id }) => id),
  )
  for (const [i, { id, severity }] of RULES.entries()) {
    assert.match(sections[i] ?? '', /^\*\*The incident\*\*: /m, id)
    assert.ok(sections[i]?.includes(severity === 'error' ? '\n\nError' : '\n\nWarning'), id)
  }
})

test('a server that is an endpoint of two upstreams is dialled by both', () => {
  const text = `
upstreams:
  a: { endpoints: ["http://h:80"], pool: { max_connections: 300 } }
  b: { endpoints: ["http://H", "http://i"], pool: { max_connections: 300 } }
routes:
  - { name: a, match: { path_prefix: /a }, upstream: a }
  - { name: b, match: { path_prefix: /b }, upstream: b }
neighbours: { upstreams: { b: { accept_backlog: 511 } } }
`
  const result = parseConfig(text, { env: {}, baseDir: '/' })
  assert.ok(result.ok)
  const [finding] = lint(result, null)
  assert.equal(finding?.rule, 'pool-within-accept-backlog')
  assert.match(finding?.message ?? '', /got 600 connections to h,/)
})

test('what is no text of a hopgate gives no traffic; one of another version gives what it has', () => {
  assert.equal(readTraffic('<html>'), null)
  assert.equal(readTraffic('hopgate_failures_total{outcome="stale_connection",upstream="u"} 1'), null)
  const traffic = readTraffic('# HELP x y\nhopgate_config_info 1\nhopgate_queue_depth{upstream="u"} nonsense\n')
  assert.deepEqual([traffic?.patience.size, traffic?.connections.size], [0, 0])
  const odd = readTraffic('hopgate_config_info 1\nhopgate_upstream_idle_closes_total{upstream="a\\"b\\\\c\\n"} 3\n')
  assert.equal(odd?.connections.get('a"b\\c\n')?.idleCloses, 3)
})
