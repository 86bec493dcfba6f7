/** `hopgate rules`: what Prometheus makes of the alerts, on planted series that are to make each fire, and not. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { rules } from '../../src/commands/rules.ts'
import type { Config } from '../../src/config/config.ts'
import { parseConfig } from '../../src/config/load.ts'
import { promDuration, renderRules } from '../../src/rules/rule.ts'
import { alertGroups, ruleFile } from '../../src/rules/rules.ts'
import { runCli, writeConfig } from '../gateway/process.ts'
import { CASES, type Case, requests, type Series } from './cases.ts'
import { promtool, withoutPromtool } from './promtool.ts'

const YAML = `
upstreams: { up: { endpoints: ["http://127.0.0.1:1"] } }
routes:
  - name: orders
    match: { path_prefix: /orders }
    upstream: up
    timeouts: { request: 8s, response_headers: 2s }
    slo: { availability: 99.9, latency: { p50: 20ms, p99: 500ms } }
  - { name: events, match: { path_prefix: /events }, upstream: up, streaming: true }
`

function config(): Config {
  const result = parseConfig(YAML, { env: {}, baseDir: '/' })
  assert.ok(result.ok, JSON.stringify(result))
  return result.config
}

const file = (scale = 1): string => ruleFile(config(), '0.1.0', { scale, runbooks: 'https://docs.example' })

/** A group of promtool's `test rules`: these series, and whether the alert fires then. */
function group(each: Case, series: Series, fires: boolean): object {
  const { alert, labels, atMinutes = 30, stepMinutes = 1 } = each
  const select = `alertname="${alert}",alertstate="firing"${labels === undefined ? '' : `,${labels}`}`
  return {
    interval: `${stepMinutes}m`,
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [
      {
        expr: `count(ALERTS{${select}}) > bool 0`,
        eval_time: `${atMinutes}m`,
        exp_samples: fires ? [{ labels: '{}', value: 1 }] : [],
      },
    ],
  }
}

const suite = (tests: readonly object[], stepMinutes = 1): string =>
  JSON.stringify({ rule_files: ['rules.yaml'], evaluation_interval: `${stepMinutes}m`, tests })

test('every alert of the file has a case here, also each speed of burning', () => {
  const alerts = alertGroups(config(), 1).flatMap(group => group.alerts)
  const name = (alert: string, burn: string | undefined) => `${alert} ${burn ?? ''}`.trim()
  const wanted = new Set(alerts.map(({ alert, labels }) => name(alert, labels?.['burn'])))
  const have = new Set(CASES.map(({ alert, labels }) => name(alert, /burn="(\w+)"/.exec(labels ?? '')?.[1])))
  assert.deepEqual([...have].sort(), [...wanted].sort())
})

test('promtool check rules: every expression and template is one', { skip: withoutPromtool }, () => {
  for (const scale of [1, 0.01]) {
    const { ok, out } = promtool(['check', 'rules', 'rules.yaml'], { 'rules.yaml': file(scale) })
    assert.ok(ok, out)
    assert.match(out, /SUCCESS: 25 rules found/)
  }
})

/** That alert alone: the others take most of the time. */
function alone({ alert, labels = '' }: Case): string {
  const wanted = alertGroups(config(), 1).flatMap(({ alerts }) =>
    alerts.filter(each => {
      const { burn, quantile } = each.labels ?? {}
      const speed = burn === undefined || labels.includes(`burn="${burn}"`)
      return each.alert === alert && speed && (quantile === undefined || labels.includes(`quantile="${quantile}"`))
    }),
  )
  assert.equal(wanted.length, 1)
  return renderRules([{ name: 'one', alerts: wanted }], '', { scale: 1, runbooks: 'docs' })
}

for (const each of CASES) {
  const { alert, labels, fires, silent, stepMinutes } = each
  test(`${alert} ${labels ?? ''}: fires where it should, and only there`, { skip: withoutPromtool }, () => {
    const tests = [...fires.map(one => group(each, one, true)), ...silent.map(one => group(each, one, false))]
    const files = { 'rules.yaml': alone(each), 'tests.yaml': suite(tests, stepMinutes) }
    const { ok, out } = promtool(['test', 'rules', 'tests.yaml'], files)
    assert.ok(ok, out)
  })
}

test('what an alert says: numbers, names, and a link to the outcome', { skip: withoutPromtool }, () => {
  const said = {
    interval: '1m',
    input_series: Object.entries({
      ...requests('200', 'completed', 570),
      ...requests('504', 'response_headers_timeout', 30),
    }).map(([series, values]) => ({ series, values })),
    alert_rule_test: [
      {
        eval_time: '30m',
        alertname: 'HopgateGatewayTimeouts',
        exp_alerts: [
          {
            exp_labels: { severity: 'page', route: 'orders', outcome: 'response_headers_timeout' },
            exp_annotations: {
              summary: 'route orders: 5% of its requests are answered 504 (response_headers_timeout)',
              runbook_url: 'https://docs.example/OUTCOMES.md#response_headers_timeout',
            },
          },
        ],
      },
    ],
  }
  const { ok, out } = promtool(['test', 'rules', 'tests.yaml'], { 'rules.yaml': file(), 'tests.yaml': suite([said]) })
  assert.ok(ok, out)
})

test('every runbook is a place in docs/', () => {
  const docs = fileURLToPath(new URL('../../docs/', import.meta.url))
  const outcomes = readFileSync(`${docs}OUTCOMES.md`, 'utf8')
  for (const { alert, runbook, summary } of alertGroups(config(), 1).flatMap(group => group.alerts)) {
    const [page = '', anchor = ''] = runbook.split('#')
    const headings = [...readFileSync(`${docs}${page}`, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\s-]/g, '')
        .replaceAll(' ', '-'),
    )
    // One that is filled in by Prometheus is an outcome.
    if (!anchor.includes('{{')) assert.ok(anchor === '' || headings.includes(anchor), `${alert}: ${runbook}`)
    else assert.ok(outcomes.includes('## `completed`'))
    assert.ok(summary.length > 20, alert)
  }
})

test('docs/ALERTS.md has every alert, and no other', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/ALERTS.md', import.meta.url)), 'utf8')
  const rows = [...page.matchAll(/^\| `(Hopgate\w+)` \| (\w+)/gm)].map(([, name, severity]) => `${name} ${severity}`)
  const alerts = alertGroups(config(), 1).flatMap(group => group.alerts)
  const wanted = new Map(alerts.toReversed().map(({ alert, severity }) => [alert, severity]))
  assert.deepEqual(rows.sort(), [...wanted].map(([name, severity]) => `${name} ${severity}`).sort())
})

test('durations as Prometheus reads them', () => {
  assert.deepEqual([1, 1000, 3000, 90_000, 300_000, 3_600_000, 259_200_000].map(promDuration), [
    '1s',
    '1s',
    '3s',
    '90s',
    '5m',
    '1h',
    '72h',
  ])
})

function run(text: string, options: { scale?: string; runbooks?: string }, t: Parameters<typeof writeConfig>[0]) {
  let [out, err] = ['', '']
  const io = {
    stdout: { write: (s: string) => (out += s) },
    stderr: { write: (s: string) => (err += s) },
    env: {},
    version: '9',
  }
  return { code: rules({ file: writeConfig(t, text), ...options }, io), out, err }
}

test('the command: a rule file on stdout; --scale shortens every window, --runbooks says where docs/ is', async t => {
  const plain = run(YAML, {}, t)
  assert.deepEqual([plain.code, plain.err], [0, ''])
  assert.match(plain.out, /^# Made by `hopgate rules` 9 from the configuration [0-9a-f]{12}\. /)
  assert.match(plain.out, /runbook_url: "docs\/OUTCOMES\.md#client_abort"/)
  const short = run(YAML, { scale: '0.05', runbooks: 'https://x/docs/' }, t)
  assert.match(short.out, /\[15s\]/)
  assert.doesNotMatch(short.out, /\[5m\]|\[1h\]/)
  assert.match(short.out, /runbook_url: "https:\/\/x\/docs\/OUTCOMES\.md#client_abort"/)
  for (const scale of ['0', '2', 'x']) {
    const wrong = run(YAML, { scale }, t)
    assert.deepEqual([wrong.code, wrong.out], [78, ''])
    assert.match(wrong.err, /^--scale: not a factor/)
  }
  assert.equal(run('routes: []', {}, t).code, 78)
  const cli = await runCli(t, ['rules', '-c', writeConfig(t, YAML)])
  assert.deepEqual([cli.code, cli.stderr, cli.stdout.split('\n')[1]], [0, '', 'groups:'])
})

test('names with characters that mean something in PromQL and YAML', { skip: withoutPromtool }, () => {
  const text = YAML.replaceAll('name: events', 'name: e.v-e_n.ts')
  const result = parseConfig(text, { env: {}, baseDir: '/' })
  assert.ok(result.ok)
  const out = ruleFile(result.config, '0', { scale: 1, runbooks: 'docs "x"' })
  assert.ok(promtool(['check', 'rules', 'rules.yaml'], { 'rules.yaml': out }).ok)
  assert.ok(out.includes('route!~"e\\\\.v-e_n\\\\.ts"'), out.slice(0, 600))
})
