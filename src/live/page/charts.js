// Small stacked charts and large ones, drawn by uPlot (window.uPlot). Colours are the style sheet's, read at every drawing:
// a change of theme is a drawing anew.

const { uPlot } = window

const colour = name =>
  getComputedStyle(document.documentElement)
    .getPropertyValue(`--${name.replaceAll('_', '-')}`)
    .trim()

const charts = new Set()

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of charts) chart.redraw()
})

const span = history => [history.end - history.spanSeconds, history.end]

const band = name => ({
  fill: () => colour(name),
  width: 0,
  points: { show: false },
  paths: uPlot.paths.stepped({ align: -1 }),
})

const axis = (more = {}) => ({
  stroke: () => colour('faint'),
  grid: { stroke: () => colour('grid'), width: 1 },
  ticks: { stroke: () => colour('grid'), width: 1 },
  ...more,
})

const bare = { cursor: { show: false }, legend: { show: false } }

// From the top of the stack to its bottom, so that what lies below is painted over what lies above.
function stacked(history, bands, perSeconds) {
  const sums = []
  let below = history.times.map(() => 0)
  for (let i = 0; i < bands.length; i++) {
    const counts = history.bands[i]
    below = counts === null ? below : below.map((sum, n) => sum + counts[n] / perSeconds)
    sums.unshift(below)
  }
  return [history.times, ...sums]
}

const highest = (_u, _low, high) => [0, Math.max(high ?? 0, 1) * 1.05]

function make(options, data, place) {
  const chart = new uPlot(options, data, place)
  charts.add(chart)
  return chart
}

export function drop(chart) {
  charts.delete(chart)
  chart.destroy()
}

export function rateChart(place, history, bands, perSeconds) {
  const small = place.classList.contains('row-chart')
  const hidden = [{ show: false }, { show: false }]
  let shown = history
  const options = {
    ...bare,
    width: small ? 200 : place.clientWidth,
    height: small ? 28 : 190,
    ...(small ? { padding: [1, 0, 1, 0] } : {}),
    scales: { x: { range: () => span(shown) }, y: { range: highest } },
    axes: small ? hidden : [axis({ values: hours, space: 70 }), axis({ size: 60 })],
    series: [{}, ...[...bands].reverse().map(band)],
  }
  const chart = make(options, stacked(history, bands, perSeconds), place)
  return {
    chart,
    update(next) {
      shown = next
      chart.setData(stacked(next, bands, perSeconds))
    },
  }
}

export function lineChart(place, history, names, format) {
  let shown = history
  const line = name => ({ stroke: () => colour(name), width: 1.5, points: { show: false }, spanGaps: false })
  const data = ({ times, ...series }) => [times, ...names.map(name => series[name])]
  const small = place.classList.contains('row-chart')
  const chart = make(
    {
      ...bare,
      width: small ? 200 : place.clientWidth,
      height: small ? 28 : 190,
      ...(small ? { padding: [1, 0, 1, 0] } : {}),
      scales: { x: { range: () => span(shown) }, y: { range: (_u, _low, high) => [0, (high || 0.001) * 1.05] } },
      axes: small
        ? [{ show: false }, { show: false }]
        : [
            axis({ values: hours, space: 70 }),
            axis({ size: 70, values: (_u, ticks) => ticks.map(tick => format(tick)) }),
          ],
      series: [{}, ...names.map(line)],
    },
    data(history),
    place,
  )
  return {
    chart,
    update(next) {
      shown = next
      chart.setData(data(next))
    },
  }
}

function hours(_u, ticks) {
  const [first, second] = ticks
  const length = second - first < 60 ? 8 : 5
  return ticks.map(tick => new Date(tick * 1000).toLocaleTimeString('en-GB').slice(0, length))
}

// Charts in rows exist while they are in sight: 200 routes are no more than a screenful.
export class RowCharts {
  #inSight = new Map()
  #makers = new WeakMap()
  #observer = new IntersectionObserver(
    changes => {
      for (const { target, isIntersecting } of changes) this.#turn(target, isIntersecting)
    },
    { rootMargin: '150px' },
  )

  add(place, maker) {
    this.#makers.set(place, maker)
    this.#observer.observe(place)
  }

  update() {
    for (const [place, { chart, update, historyOf }] of this.#inSight) {
      if (place.isConnected) update(historyOf())
      else {
        this.#inSight.delete(place)
        drop(chart)
      }
    }
  }

  clear() {
    for (const place of this.#inSight.keys()) this.#turn(place, false)
  }

  #turn(place, visible) {
    const there = this.#inSight.get(place)
    if (visible && there === undefined) {
      const { draw, historyOf } = this.#makers.get(place)
      this.#inSight.set(place, { ...draw(place, historyOf()), historyOf })
    } else if (!visible && there !== undefined) {
      this.#inSight.delete(place)
      drop(there.chart)
    }
  }
}

export function followWidth(place, current) {
  new ResizeObserver(() => {
    const chart = current()
    if (chart && place.clientWidth > 0) chart.setSize({ width: place.clientWidth, height: 190 })
  }).observe(place)
}
