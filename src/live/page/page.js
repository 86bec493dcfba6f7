// The live page: a stream of server-sent events in, tables and charts out. Whatever arrives is a whole state or an addition
// to one, and a new gateway (`boot`) begins everything anew.
import { drop, followWidth, lineChart, RowCharts, rateChart } from './charts.js'
import { $, element, facts, keyed, mark, text } from './dom.js'
import * as tables from './tables.js'
import { BAND_WORDS, clock, count, milliseconds, percent, rate, seconds } from './words.js'

const RECENT_MS = 10_000
const YOUNG_SECONDS = 120
const SILENT_MS = 5000
const AGAIN_MS = 2000
const FAILURES = 100
const ALL = 'all routes'
const OK = 0
const CLIENT_FAULT = 3

let hello = null
let routes = []
let upstreams = []
let all = null
let heardAt = 0
let ready = true
let timeouts = () => {}
let charts = { rate: null, latency: null }
let paused = false
let overflowsBefore
let failures = []
const rows = new RowCharts()

const heads = {
  routes: tables.headed($('routes-table'), tables.ROUTE_COLUMNS, () => showRoutes()),
  upstreams: tables.headed($('upstreams-table'), tables.UPSTREAM_COLUMNS),
  inflight: tables.headed($('inflight-table'), tables.INFLIGHT_COLUMNS),
}

function emptySeries() {
  return { taken: 0, times: [], bands: hello.bands.map(() => null), p50: [], p99: [], active: [], queued: [] }
}

// As the charts want it: when the span ends, and how long it is. That of a young gateway is two minutes, and grows.
function historyOf({ series }) {
  const [first = 0] = series.times
  const end = series.times.at(-1) ?? Date.now() / 1000
  const longest = (hello.samples * hello.sample_ms) / 1000
  return { ...series, end, spanSeconds: Math.min(longest, Math.max(YOUNG_SECONDS, end - first)) }
}

function begin(data) {
  const again = hello !== null && hello.boot !== data.boot
  hello = data
  rows.clear()
  const blank = () => ({
    inflight: 0,
    oldest: 0,
    bands: [],
    total: 0,
    rate: Number.NaN,
    minute: [null, null, null],
    recent: [],
    series: emptySeries(),
  })
  routes = data.routes.map(route => ({ ...route, ...blank() }))
  all = { name: ALL, ...blank() }
  upstreams = data.upstreams.map(upstream => ({ ...upstream, queued: 0, counts: [], series: emptySeries() }))
  for (const { body } of Object.values(heads)) {
    body.replaceChildren()
    body.rowsByKey = undefined
  }
  failures = []
  overflowsBefore = undefined
  timeouts = tables.timeoutTable($('timeouts-table'), data.timeouts, data.routes)
  text(
    $('identity'),
    `${data.version} · configuration ${data.config} · since ${new Date(data.started_ms).toLocaleString('en-GB')}${again ? ' · it was restarted' : ''}`,
  )
  const shown = $('shown').value
  $('shown').replaceChildren(
    ...[ALL, ...routes.map(route => route.name)].map(name => element('option', { value: name }, name)),
  )
  $('shown').value = [ALL, ...routes.map(route => route.name)].includes(shown) ? shown : ALL
  $('legend').replaceChildren(
    ...[...data.bands.map(band => [band, BAND_WORDS[band]]), ['p50', 'p50'], ['p99', 'p99']].map(([name, words]) =>
      element('li', {}, element('i', { class: `band-${name}` }), words),
    ),
  )
  bigCharts()
}

function chosen() {
  return routes.find(route => route.name === $('shown').value) ?? all
}

function bigCharts() {
  for (const one of Object.values(charts)) if (one) drop(one.chart)
  const history = historyOf(chosen())
  charts = {
    rate: rateChart($('rate-chart'), history, hello.bands, hello.sample_ms / 1000),
    latency: lineChart($('latency-chart'), history, ['p50', 'p99'], seconds),
  }
  describeCharts()
}

function drawn() {
  const history = historyOf(chosen())
  charts.rate.update(history)
  charts.latency.update(history)
  rows.update()
  describeCharts()
}

// What a picture says, in words.
function describe({ name, series }) {
  const sums = series.bands.map(counts => (counts ?? []).reduce((sum, one) => sum + one, 0))
  const total = sums.reduce((sum, one) => sum + one, 0)
  const parts = sums.flatMap((sum, i) => (sum === 0 ? [] : [`${count(sum)} ${BAND_WORDS[hello.bands[i]]}`]))
  return `${name}, last 15 minutes: ${total === 0 ? 'nothing ended' : parts.join(', ')}`
}

function describeCharts() {
  const item = chosen()
  $('rate-chart').setAttribute('aria-label', describe(item))
  const [p50, , p99] = item.minute
  $('latency-chart').setAttribute('aria-label', `${item.name}, last minute: p50 ${seconds(p50)}, p99 ${seconds(p99)}`)
}

// Bands of all routes: added up here, as every route has the same samples.
function addUp() {
  const [first] = routes
  all.series = {
    ...all.series,
    times: first.series.times,
    bands: hello.bands.map((_, band) => sum(routes.map(({ series }) => series.bands[band]))),
  }
}

function sum(columns) {
  const there = columns.filter(column => column !== null)
  if (there.length === 0) return null
  return there[0].map((_, n) => there.reduce((total, column) => total + (column[n] ?? 0), 0))
}

function history(data) {
  const times = data.times.map(ms => ms / 1000)
  for (const { index, minute, ...series } of data.routes) {
    Object.assign(routes[index], { minute, series: { ...routes[index].series, ...series, times, taken: data.taken } })
  }
  if (!data.all) return
  const { minute, ...percentiles } = data.all
  Object.assign(all, { minute, series: { ...all.series, ...percentiles, taken: data.taken } })
  data.upstreams.forEach((series, i) => {
    upstreams[i].series = { ...upstreams[i].series, ...series, times, taken: data.taken }
  })
  addUp()
  drawn()
}

function sample(data) {
  const at = data.time_ms / 1000
  const longer = (values, value) => [...values, value].slice(-hello.samples)
  const grow = (item, next) => {
    const { series } = item
    // It is in the history already, which came later.
    if (series.taken >= data.taken) return
    const length = Math.min(series.times.length, hello.samples)
    const counts = (old, value) => (old === null && value === 0 ? null : longer(old ?? Array(length).fill(0), value))
    item.series = {
      ...series,
      taken: data.taken,
      times: longer(series.times, at),
      ...(next.bands ? { bands: series.bands.map((old, band) => counts(old, next.bands[band])) } : {}),
      ...('p50' in next ? { p50: longer(series.p50, next.p50), p99: longer(series.p99, next.p99) } : {}),
      ...('active' in next
        ? { active: longer(series.active, next.active), queued: longer(series.queued, next.queued) }
        : {}),
    }
    if (next.minute) item.minute = next.minute
  }
  data.routes.forEach((next, i) => {
    grow(routes[i], next)
  })
  data.upstreams.forEach((next, i) => {
    grow(upstreams[i], next)
  })
  grow(all, data.all)
  addUp()
  drawn()
}

function now(data) {
  ready = data.ready
  const bad = bands =>
    bands.reduce((total, one, band) => (band === OK || band === CLIENT_FAULT ? total : total + one), 0)
  const note = (item, inflight, oldest, bands) => {
    const total = bands.reduce((one, other) => one + other, 0)
    item.recent.push({ at: data.time_ms, total, bad: bad(bands) })
    while (item.recent.length > 2 && item.recent[1].at <= data.time_ms - RECENT_MS) item.recent.shift()
    const [since] = item.recent
    const elapsed = (data.time_ms - since.at) / 1000
    const ended = total - since.total
    Object.assign(item, {
      inflight,
      oldest,
      bands,
      total,
      rate: elapsed > 0 ? ended / elapsed : Number.NaN,
      failing: ended > 0 ? (bad(bands) - since.bad) / ended : Number.NaN,
    })
  }
  data.routes.forEach(([inflight, oldest, ...bands], i) => {
    note(routes[i], inflight, oldest, bands)
  })
  const total = hello.bands.map((_, band) => routes.reduce((one, route) => one + route.bands[band], 0))
  note(
    all,
    routes.reduce((one, route) => one + route.inflight, 0),
    Math.max(...routes.map(route => route.oldest)),
    total,
  )
  data.upstreams.forEach(([queued, ...counts], i) => {
    Object.assign(upstreams[i], { queued, counts })
  })
  timeouts(data.fired)
  showRoutes()
  showUpstreams()
  tables.show(heads.inflight.body, tables.INFLIGHT_COLUMNS, data.in_flight, item => item.request_id)
  text(
    $('inflight-note'),
    all.inflight === 0
      ? 'Nothing is in flight.'
      : `${count(all.inflight)} in flight; the ${count(data.in_flight.length)} oldest:`,
  )
  facts($('cards'), [
    ['per second', rate(all.rate)],
    ['failing, last 10 s', percent(all.failing), all.failing > 0.02 ? 'bad' : ''],
    ['p99, last minute', seconds(all.minute[2])],
    ['in flight', count(all.inflight)],
    ['oldest', all.inflight === 0 ? '–' : milliseconds(all.oldest)],
    ['connections', count(data.client_connections)],
    ['ended', count(all.total)],
    [
      'health',
      data.ailments.length === 0 ? 'ok' : data.ailments.join('; '),
      data.ailments.length === 0 ? 'good' : 'bad',
    ],
  ])
  if (data.listen !== null) overflowsBefore ??= data.listen.overflows
  facts($('machinery-list'), tables.machinery(data, overflowsBefore))
  tables.socketTable($('sockets-table'), data.sockets)
}

function showRoutes() {
  const wanted = $('filter').value.trim().toLowerCase()
  const found = routes.filter(route =>
    `${route.name} ${route.match} ${route.upstream ?? ''}`.toLowerCase().includes(wanted),
  )
  text($('filtered'), wanted === '' ? `${routes.length} routes` : `${found.length} of ${routes.length} routes`)
  tables.show(
    heads.routes.body,
    tables.ROUTE_COLUMNS,
    tables.sorted(found, heads.routes.order),
    item => item.name,
    (row, { name }) => {
      const item = () => routes.find(route => route.name === name)
      rowChart(row, place => rateChart(place, historyOf(item()), hello.bands, hello.sample_ms / 1000), item)
    },
  )
}

function showUpstreams() {
  const items = upstreams.flatMap(({ name, endpoints, counts, queued, queue_limit: queueLimit }) => {
    const own = routes.filter(route => route.upstream === name)
    const failed = own.reduce((total, { bands }) => total + (bands[4] ?? 0) + (bands[5] ?? 0), 0)
    const together = own.reduce((total, route) => total + (route.rate || 0), 0)
    return endpoints.map(({ url, max_connections: most }, i) => {
      const [connecting = 0, active = 0, idle = 0] = counts[i] ?? []
      return { name, url, most, connecting, active, idle, queued, queueLimit, rate: together, failed, first: i === 0 }
    })
  })
  tables.show(
    heads.upstreams.body,
    tables.UPSTREAM_COLUMNS,
    items,
    item => `${item.name} ${item.url}`,
    (row, { name, first }) => {
      if (!first) return
      const item = () => upstreams.find(upstream => upstream.name === name)
      rowChart(row, place => lineChart(place, historyOf(item()), ['active', 'queued'], count), item)
    },
  )
}

function rowChart(row, draw, item) {
  const place = element('div', {
    class: 'row-chart',
    role: 'img',
    'aria-label': `${item().name}: a small chart of the columns before`,
  })
  row.cells[1].append(place)
  rows.add(place, { draw, historyOf: () => historyOf(item()) })
}

function failed(entries) {
  for (const entry of entries) {
    const at = failures.findIndex(({ id }) => id === entry.id)
    if (at === -1) failures.unshift(entry)
    else failures[at] = entry
  }
  failures.sort((a, b) => b.id - a.id)
  failures.length = Math.min(failures.length, FAILURES)
  showFailures()
}

function showFailures() {
  if (paused) return
  text($('paused'), failures.length === 0 ? 'None since the start.' : '')
  keyed(
    $('failures-list'),
    failures,
    entry => `${hello.boot} ${entry.id}`,
    ({ time, outcome, band: kind, status, route, request, request_id: id, text: told }) => {
      const more = element('span', { class: 'warn' })
      const band = element('i', { class: 'mark', 'aria-hidden': 'true' })
      band.classList.add(`band-${kind}`)
      const head = element(
        'div',
        { class: 'head' },
        band,
        clock(time),
        ' ',
        element('b', {}, `${status} ${outcome}`),
        ` · ${route} · ${request} · ${id} `,
        more,
      )
      return { node: element('li', {}, head, element('div', {}, told)), more }
    },
    ({ more }, entry) => {
      text(more, entry.more === 0 ? '' : `and ${count(entry.more)} more like it in the same second`)
    },
  )
}

function connected(on) {
  const word = $('connection')
  document.body.classList.toggle('gone', !on)
  const shown = !on
    ? `disconnected since ${clock(heardAt || Date.now())}, trying again`
    : ready
      ? 'live'
      : 'draining: it is about to stop'
  text(word, shown)
  mark(word, 'good', on && ready)
  mark(word, 'warn', on && !ready)
  mark(word, 'bad', !on)
}

function connect() {
  const source = new EventSource('-/live')
  const on = (name, handle) => {
    source.addEventListener(name, event => {
      heardAt = Date.now()
      handle(JSON.parse(event.data))
      connected(true)
    })
  }
  on('hello', begin)
  on('now', now)
  on('history', history)
  on('sample', sample)
  on('failures', failed)
  source.addEventListener('error', () => {
    connected(false)
    // A refusal by status (too many pages, a proxy between) ends an EventSource for good.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS)
  })
}

$('filter').addEventListener('input', () => {
  if (hello !== null) showRoutes()
})
$('shown').addEventListener('change', bigCharts)
$('pause').addEventListener('click', () => {
  paused = !paused
  $('pause').setAttribute('aria-pressed', String(paused))
  text($('paused'), paused ? 'Paused: what fails meanwhile is shown when you go on.' : '')
  if (!paused) showFailures()
})
followWidth($('rate-chart'), () => charts.rate?.chart)
followWidth($('latency-chart'), () => charts.latency?.chart)
setInterval(() => {
  if (heardAt > 0 && Date.now() - heardAt > SILENT_MS) connected(false)
}, 1000)
connect()
