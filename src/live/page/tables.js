// The tables of the page: what each column shows, and the order that was asked for.
import { element, fill, keyed, mark, rowOf, text } from './dom.js'
import { bytes, count, limit, milliseconds, percent, rate, seconds } from './words.js'

const zero = value => (value === 0 ? 'zero' : '')
const hot = value => (value === 0 ? 'zero' : 'hot')

const share = (item, band) => item.bands[band] ?? 0

function counted(name, title, band) {
  return {
    name,
    title,
    sort: item => share(item, band),
    show: item => count(share(item, band)),
    tone: item => hot(share(item, band)),
  }
}

const time = (name, at) => ({
  name,
  title: `${name}, last minute`,
  sort: item => item.minute[at] ?? -1,
  show: item => seconds(item.minute[at]),
})

export const ROUTE_COLUMNS = [
  { name: 'route', head: true, sort: item => item.name, show: item => item.name },
  { name: 'last 15 minutes', chart: true },
  { name: 'rate', title: 'per second', sort: item => item.rate, show: item => rate(item.rate) },
  time('p50', 0),
  time('p90', 1),
  time('p99', 2),
  {
    name: 'in flight',
    sort: item => item.inflight,
    show: item => count(item.inflight),
    tone: item => zero(item.inflight),
  },
  { name: 'oldest', sort: item => item.oldest, show: item => (item.inflight === 0 ? '–' : milliseconds(item.oldest)) },
  { name: 'total', sort: item => item.total, show: item => count(item.total) },
  {
    name: 'failing',
    title: 'share of the last 10 s that was not answered, or answered 5xx',
    sort: item => item.failing || 0,
    show: item => percent(item.failing),
    tone: item => (item.failing > 0.02 ? 'hot' : ''),
  },
  counted('499', 'clients left', 2),
  counted('504', 'timeouts', 4),
  counted('502', 'upstream failed', 5),
  counted('503', 'refused', 6),
  counted('5xx', 'of the upstream itself', 1),
  { name: 'match', kind: 'text wide', show: item => item.match, title: item => item.match },
  { name: 'upstream', kind: 'text', sort: item => item.upstream ?? '', show: item => item.upstream ?? '–' },
]

export const UPSTREAM_COLUMNS = [
  { name: 'upstream', head: true, show: item => item.name },
  { name: 'active, queue', chart: true },
  { name: 'endpoint', kind: 'text', show: item => item.url },
  { name: 'rate', title: 'per second, all endpoints', show: item => (item.first ? rate(item.rate) : '') },
  {
    name: 'failed',
    title: 'timeouts and failures since the start',
    show: item => (item.first ? count(item.failed) : ''),
    tone: item => (item.first ? hot(item.failed) : ''),
  },
  { name: 'connecting', show: item => count(item.connecting), tone: item => zero(item.connecting) },
  {
    name: 'active',
    show: item => `${count(item.active)} of ${count(item.most)}`,
    tone: item => (item.active >= item.most ? 'hot' : ''),
  },
  { name: 'idle', show: item => count(item.idle), tone: item => zero(item.idle) },
  {
    name: 'queue',
    show: item => (item.first ? `${count(item.queued)} of ${count(item.queueLimit)}` : ''),
    tone: item => (item.first && item.queued > 0 ? 'hot' : ''),
  },
]

export const INFLIGHT_COLUMNS = [
  { name: 'age', show: item => milliseconds(item.age_ms) },
  { name: 'route', kind: 'text', show: item => item.route },
  { name: 'stage', kind: 'text', show: item => item.stage },
  { name: 'timeout', kind: 'text', show: item => item.timeout ?? '–' },
  {
    name: 'of it gone',
    show: item => (item.share === null ? '–' : percent(item.share)),
    tone: item => (item.share > 0.8 ? 'hot' : ''),
  },
  { name: 'request', kind: 'text wide', show: item => item.request, title: item => item.request },
  { name: 'client', kind: 'text', show: item => item.client },
  { name: 'endpoint', kind: 'text', show: item => item.endpoint || '–' },
  { name: 'request id', kind: 'text', show: item => item.request_id },
]

// A head of buttons where columns can be sorted; `changed` is called when the order has.
export function headed(table, columns, changed) {
  const order = { column: null, down: true }
  const heads = columns.map(column => {
    const properties = { scope: 'col', class: `${column.head || column.kind || column.chart ? 'text' : ''}` }
    if (typeof column.title === 'string') properties.title = column.title
    const head = element('th', properties)
    if (!column.sort) {
      head.append(column.name)
      return head
    }
    const button = element('button', { type: 'button' }, column.name)
    button.addEventListener('click', () => {
      if (order.column !== column) Object.assign(order, { column, down: true })
      else if (order.down) order.down = false
      else order.column = null
      heads.forEach((each, i) => {
        if (order.column === columns[i]) each.setAttribute('aria-sort', order.down ? 'descending' : 'ascending')
        else each.removeAttribute('aria-sort')
      })
      changed()
    })
    head.append(button)
    return head
  })
  const body = element('tbody')
  table.replaceChildren(element('thead', {}, element('tr', {}, ...heads)), body)
  return { body, order }
}

export function sorted(items, { column, down }) {
  if (column === null) return items
  const sign = down ? -1 : 1
  return [...items].sort((a, b) => {
    const [x, y] = [column.sort(a), column.sort(b)]
    return (
      sign *
      (typeof x === 'string' ? x.localeCompare(y) : (Number.isFinite(x) ? x : -1) - (Number.isFinite(y) ? y : -1))
    )
  })
}

export function show(body, columns, items, keyOf, made) {
  const plain = columns.map(({ title, ...column }) => (typeof title === 'function' ? { ...column, title } : column))
  keyed(
    body,
    items,
    keyOf,
    item => {
      const row = rowOf(columns, item)
      row.node.dataset.key = keyOf(item)
      columns.forEach(({ name }, i) => {
        row.cells[i].dataset.column = name
      })
      made?.(row, item)
      return row
    },
    (row, item) => fill(row, plain, item),
  )
}

// May be broken after each dot.
const broken = name => name.split(/(?<=\.)/).flatMap(part => [part, element('wbr')])

// Rows are routes, columns are timeouts.
export function timeoutTable(table, names, routes) {
  // Those of the upstream hop first: they differ by route, and fire in most nights.
  const order = [...names.keys()].sort(
    (a, b) => names[a].startsWith('listen.') - names[b].startsWith('listen.') || a - b,
  )
  const head = element(
    'tr',
    {},
    element('th', { scope: 'col', class: 'text' }, 'route'),
    ...order.map(i => element('th', { scope: 'col', class: 'broken' }, ...broken(names[i]))),
  )
  const cells = routes.map(({ configured }) =>
    names.map(name => element('td', { class: 'zero' }, name in configured ? limit(configured[name]) : '')),
  )
  const rows = routes.map(({ name }, i) => {
    const row = element('tr', {}, element('th', { scope: 'row' }, name), ...order.map(at => cells[i][at]))
    row.dataset.key = name
    return row
  })
  table.replaceChildren(element('thead', {}, head), element('tbody', {}, ...rows))
  cells.forEach(row => {
    row.forEach((cell, i) => {
      cell.dataset.column = names[i]
    })
  })
  return fired => {
    for (const [route, timeout, times, worst] of fired) {
      const cell = cells[route][timeout]
      const name = names[timeout]
      const configured = routes[route].configured[name]
      const late = worst > 0 ? ` (+${milliseconds(worst)})` : ''
      text(cell, `${configured === undefined ? '' : `${limit(configured)}: `}${count(times)}×${late}`)
      cell.dataset.fired = times
      mark(cell, 'hot', true)
      mark(cell, 'zero', false)
    }
  }
}

const STATES = [
  'established',
  'syn_sent',
  'syn_recv',
  'fin_wait1',
  'fin_wait2',
  'close_wait',
  'last_ack',
  'closing',
  'time_wait',
]

export function socketTable(table, sockets) {
  if (sockets === null) {
    if (!table.caption) table.append(element('caption', {}, 'The kernel does not show its sockets here.'))
    return
  }
  table.caption?.remove()
  const columns = [
    { name: 'sockets', head: true, show: item => item.side },
    ...STATES.map(name => ({
      name,
      show: item => count(item.states[name] ?? 0),
      tone: item => (name === 'close_wait' ? hot(item.states[name] ?? 0) : zero(item.states[name] ?? 0)),
    })),
  ]
  const body = table.tBodies[0] ?? headed(table, columns).body
  show(body, columns, sockets, item => item.side)
}

// Overflows are of the whole network namespace, since it was made: those are news that came since the page was opened.
export function machinery(now, overflowsBefore) {
  const { log, loop, descriptors, accept_queue: queue, listen, imbalance, selfprobe } = now
  const off = Object.entries(imbalance).filter(([, value]) => value !== 0)
  const overflows = listen === null ? null : listen.overflows - overflowsBefore
  const dropped = log.dropped.access + log.dropped.event
  return [
    ['log', log.up ? 'up' : 'cannot be written', log.up ? 'good' : 'bad'],
    ['log lines', `${count(log.written.access)} access, ${count(log.written.event)} event`],
    ['log lines dropped', count(dropped), dropped > 0 ? 'bad' : ''],
    ['log buffer', bytes(log.buffered_bytes)],
    ['event loop', `${percent(loop.utilization)} busy`, loop.utilization > 0.9 ? 'bad' : ''],
    ['event loop stalls', loop.stalls === null ? 'not watched' : count(loop.stalls), loop.stalls > 0 ? 'bad' : ''],
    [
      'self-probe',
      selfprobe === null ? 'off' : selfprobe.up ? `up (${count(selfprobe.ok)} answered)` : 'fails',
      selfprobe?.up === false ? 'bad' : '',
    ],
    [
      'books',
      off.length === 0 ? 'balanced' : off.map(([name, value]) => `${name} off by ${value}`).join(', '),
      off.length === 0 ? 'good' : 'bad',
    ],
    [
      'accept queue',
      queue.depth === null
        ? 'not known'
        : `${count(queue.depth)} of ${queue.limit === null ? '?' : count(queue.limit)}`,
    ],
    [
      'accept queue overflows',
      overflows === null ? 'not known' : `${count(overflows)} since this page was opened`,
      overflows > 0 ? 'bad' : '',
    ],
    [
      'file descriptors',
      descriptors === null ? 'not known' : `${count(descriptors.open)} of ${count(descriptors.max)}`,
      descriptors !== null && descriptors.open > 0.8 * descriptors.max ? 'bad' : '',
    ],
  ]
}
