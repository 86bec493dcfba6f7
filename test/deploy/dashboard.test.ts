/** The Grafana dashboard: current, and of the shape that Grafana imports. Its queries are asked in prometheus.test.ts. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { dashboard, dashboardJson, FILE } from '../../deploy/grafana/generate.ts'

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[]
}
const { panels, templating, schemaVersion, uid } = dashboard()
const all: readonly Panel[] = panels
const drawn = all.filter(({ type }) => type !== 'row')
const queries = drawn.flatMap(({ targets = [] }) => targets)

test('deploy/grafana/hopgate.json is what its panels make: npx tsx deploy/grafana/generate.ts', () => {
  assert.equal(readFileSync(FILE, 'utf8'), dashboardJson())
})

test('panels: ids of their own, inside the grid of 24, none upon another, each explained', () => {
  assert.equal(new Set(all.map(({ id }) => id)).size, all.length)
  assert.equal(new Set(drawn.map(({ title }) => title)).size, drawn.length)
  const taken = new Map<string, string>()
  for (const { title, gridPos } of all) {
    assert.ok(gridPos.x >= 0 && gridPos.x + gridPos.w <= 24 && gridPos.h > 0, title)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.equal(taken.get(`${x} ${y}`), undefined, `${title} lies upon ${taken.get(`${x} ${y}`)}`)
        taken.set(`${x} ${y}`, title)
      }
    }
  }
  for (const { title, description } of drawn) assert.ok((description ?? '').length > 3, title)
  assert.ok(schemaVersion >= 36 && uid.length > 0 && uid.length <= 40)
})

test('queries: one refId each in a panel, balanced, and of variables that there are', () => {
  const known = [...templating.list.map(({ name }) => name), '__rate_interval']
  for (const { title, targets = [] } of drawn) {
    assert.ok(targets.length > 0, title)
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title)
    for (const { expr, legendFormat } of targets) {
      for (const [, name = ''] of expr.matchAll(/\$(\w+)/g)) assert.ok(known.includes(name), `${title}: $${name}`)
      for (const [open, close] of ['()', '{}', '[]']) {
        assert.equal(expr.split(open as string).length, expr.split(close as string).length, `${title}: ${expr}`)
      }
      assert.match(expr, /instance=~"\$instance"/, title)
      assert.ok(legendFormat.length > 0, title)
    }
  }
})

test('queries: every metric of ours is documented, and every documented one is on the dashboard or told why not', () => {
  const page = readFileSync(new URL('../../docs/METRICS.md', import.meta.url), 'utf8')
  const documented = [...page.matchAll(/^\| `(hopgate_\w+)` \|/gm)].map(([, name = '']) => name)
  const asked = new Set(
    queries.flatMap(({ expr }) =>
      [...expr.matchAll(/hopgate_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, '')),
    ),
  )
  assert.deepEqual(
    [...asked].filter(name => !documented.includes(name)),
    [],
  )
  const elsewhere = [
    // A limit, not a measurement: the live page and /-/effective have it.
    'hopgate_timeout_configured_seconds',
    // Beside their bytes.
    'hopgate_aborted_writes_total',
    // Behind hopgate_selfprobe_up and the stalls.
    'hopgate_selfprobes_total',
    'hopgate_selfprobe_duration_seconds',
    'hopgate_event_loop_stall_seconds',
    // Beside the overflows, which it includes.
    'hopgate_listen_drops_total',
    // Says that other panels have no data.
    'hopgate_kernel_view_skipped_total',
  ]
  assert.deepEqual(documented.filter(name => !asked.has(name)).sort(), elsewhere.sort())
})
