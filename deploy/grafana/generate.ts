/** Writes deploy/grafana/hopgate.json: `npx tsx deploy/grafana/generate.ts`. */
import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { type PanelSpec, ROWS } from './panels.ts'

/** Of Grafana 10 and later; older ones migrate what they know. */
const SCHEMA_VERSION = 39
const HEIGHTS = { stat: 4, timeseries: 8, heatmap: 8 } as const
const WHOLE_WIDTH = 24

const datasource = { type: 'prometheus', uid: '$datasource' } as const

export const FILE = new URL('./hopgate.json', import.meta.url)

/** The dashboard as the text of its file. */
export function dashboardJson(): string {
  return `${JSON.stringify(dashboard(), null, 2)}\n`
}

export function dashboard() {
  let id = 0
  let y = 0
  const panels = ROWS.flatMap(({ title, panels: own }) => {
    const row = {
      id: ++id,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { h: 1, w: WHOLE_WIDTH, x: 0, y: y++ },
      panels: [],
    }
    let x = 0
    let height = 0
    const placed = own.map(spec => {
      if (x + spec.width > WHOLE_WIDTH) {
        x = 0
        y += height
        height = 0
      }
      const h = HEIGHTS[spec.kind]
      const panel = { id: ++id, ...drawn(spec), gridPos: { h, w: spec.width, x, y } }
      x += spec.width
      height = Math.max(height, h)
      return panel
    })
    y += height
    return [row, ...placed]
  })
  return {
    uid: 'hopgate',
    title: 'hopgate',
    description: 'Made by deploy/grafana/generate.ts: change panels.ts, not this file.',
    tags: ['hopgate'],
    schemaVersion: SCHEMA_VERSION,
    editable: true,
    graphTooltip: 1,
    refresh: '10s',
    time: { from: 'now-30m', to: 'now' },
    timezone: 'browser',
    templating: {
      list: [
        {
          name: 'datasource',
          label: 'Prometheus',
          type: 'datasource',
          query: 'prometheus',
          hide: 0,
          refresh: 1,
          includeAll: false,
          multi: false,
        },
        variable('instance', 'Instance', 'label_values(hopgate_config_info, instance)'),
        variable('route', 'Route', 'label_values(hopgate_inflight_requests{instance=~"$instance"}, route)'),
      ],
    },
    annotations: {
      list: [
        {
          name: 'Alerts',
          datasource,
          enable: true,
          hide: false,
          iconColor: 'red',
          expr: 'ALERTS{alertname=~"Hopgate.*",alertstate="firing"}',
          titleFormat: '{{alertname}}',
          textFormat: '{{route}} {{outcome}}',
        },
      ],
    },
    links: [],
    panels,
  }
}

/** All values by default, and an `allValue` that also takes in what appears later. */
function variable(name: string, label: string, query: string) {
  return {
    name,
    label,
    type: 'query',
    datasource,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { text: ['All'], value: ['$__all'] },
    hide: 0,
  }
}

function drawn({ title, about, kind, unit, stacked, redFrom, queries }: PanelSpec) {
  const steps = [{ color: 'green', value: null }, ...(redFrom === undefined ? [] : [{ color: 'red', value: redFrom }])]
  const targets = queries.map(({ expr, legend }, i) => ({
    refId: String.fromCharCode('A'.charCodeAt(0) + i),
    datasource,
    expr,
    legendFormat: legend,
    format: kind === 'heatmap' ? 'heatmap' : 'time_series',
    range: true,
    instant: false,
  }))
  return {
    type: kind,
    title,
    description: about,
    datasource,
    targets,
    fieldConfig: {
      defaults: { unit, min: 0, thresholds: { mode: 'absolute', steps }, ...custom(kind, stacked, redFrom) },
      overrides: [],
    },
    options: options(kind, unit),
  }
}

function custom(kind: PanelSpec['kind'], stacked: true | undefined, redFrom: number | undefined) {
  if (kind !== 'timeseries') return {}
  return {
    custom: {
      drawStyle: 'line',
      lineWidth: 1,
      fillOpacity: stacked ? 40 : 0,
      stacking: { group: 'A', mode: stacked ? 'normal' : 'none' },
      thresholdsStyle: { mode: redFrom === undefined ? 'off' : 'dashed' },
    },
  }
}

function options(kind: PanelSpec['kind'], unit: string) {
  switch (kind) {
    case 'stat':
      return {
        colorMode: 'value',
        graphMode: 'area',
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      }
    case 'heatmap':
      return { calculate: false, yAxis: { unit }, color: { mode: 'scheme', scheme: 'Oranges', steps: 64 }, cellGap: 1 }
    case 'timeseries':
      return {
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeFileSync(FILE, dashboardJson())
