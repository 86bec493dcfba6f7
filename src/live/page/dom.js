// The document, changed where something has changed. What comes from elsewhere is text and stays text: the only way in is
// `textContent`, and the page's Trusted Types policy refuses every other.

export const $ = id => document.getElementById(id)

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'class') made.className = value
    else made.setAttribute(key, value)
  }
  made.append(...children)
  return made
}

export function text(node, value) {
  const wanted = String(value)
  if (node.textContent !== wanted) node.textContent = wanted
}

export function mark(node, name, on) {
  if (node.classList.contains(name) !== on) node.classList.toggle(name, on)
}

// Rows of a body, one per item and in the items' order, made once for each key and then changed in place: the focus, the
// selection and the place a reader has come to survive an update.
export function keyed(parent, items, keyOf, make, update) {
  parent.rowsByKey ??= new Map()
  const rows = parent.rowsByKey
  const seen = new Set()
  let place = parent.firstElementChild
  for (const item of items) {
    const key = keyOf(item)
    seen.add(key)
    let row = rows.get(key)
    if (row === undefined) {
      row = make(item)
      rows.set(key, row)
    }
    update(row, item)
    if (row.node === place) place = place.nextElementSibling
    else parent.insertBefore(row.node, place)
  }
  for (const [key, row] of rows) {
    if (seen.has(key)) continue
    row.node.remove()
    rows.delete(key)
  }
}

export function facts(list, pairs) {
  keyed(
    list,
    pairs,
    ([name]) => name,
    ([name]) => {
      const value = element('dd')
      const node = element('div', {}, element('dt', {}, name), value)
      return { node, value }
    },
    ({ value }, [, shown, tone = '']) => {
      text(value, shown)
      if (value.className !== tone) value.className = tone
    },
  )
}

// A row of cells: `columns` say how each is headed, filled and aligned.
export function rowOf(columns, item) {
  const cells = columns.map(({ kind, head }) =>
    element(head ? 'th' : 'td', { ...(head ? { scope: 'row' } : {}), ...(kind ? { class: kind } : {}) }),
  )
  return { node: element('tr', {}, ...cells), cells, item }
}

export function fill(row, columns, item) {
  row.item = item
  columns.forEach(({ show, tone, title }, i) => {
    const cell = row.cells[i]
    if (show) text(cell, show(item))
    if (title) {
      const wanted = title(item)
      if (cell.title !== wanted) cell.title = wanted
    }
    if (!tone) return
    const wanted = tone(item)
    for (const name of ['zero', 'hot', 'warn', 'bad', 'good']) mark(cell, name, name === wanted)
  })
}
