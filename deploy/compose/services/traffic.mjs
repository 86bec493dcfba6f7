/**
 * Makes the five incidents of docs/incidents.md happen to a running hopgate, one after the other, over a steady
 * background of healthy calls, and says of each what its callers saw and where to look.
 *   node traffic.mjs [NAME...]      these incidents only, once; without a name all of them, for ever
 */
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const {
  FRONT = 'http://127.0.0.1:8080',
  GATEWAY = FRONT,
  ORDERS_CONTROL = 'http://127.0.0.1:3001',
  REPORTS_CONTROL = 'http://127.0.0.1:3002',
  LOGREADER_CONTROL = 'http://127.0.0.1:3003',
  INCIDENT_SECONDS = '120',
  QUIET_SECONDS = '60',
  CALLERS = '200',
  CONNECTIONS = '2000',
} = process.env
const incidentMs = Number(INCIDENT_SECONDS) * 1000
const quietMs = Number(QUIET_SECONDS) * 1000
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

const say = line => process.stdout.write(`${line}\n`)
const put = (control, word) => fetch(`${control}/${word}`, { method: 'PUT' }).then(r => r.text())

/**
 * One call, with whatever patience its caller has.
 * @returns the status; `left` when it gave up; the error's code otherwise
 */
function call(url, { patienceMs = 10_000, upload = 0, method = upload > 0 ? 'POST' : 'GET' } = {}) {
  return new Promise(resolve => {
    const req = request(url, { method, agent, headers: upload > 0 ? { 'Content-Length': upload } : {} })
    let left = false
    const patience = setTimeout(() => {
      left = true
      req.destroy()
      resolve('left')
    }, patienceMs)
    const done = result => {
      clearTimeout(patience)
      resolve(result)
    }
    req.on('error', error => done(left ? 'left' : (error.code ?? 'error')))
    req.on('response', res => {
      res.on('error', () => done('cut'))
      res.on('end', () => done(res.statusCode))
      res.resume()
    })
    if (upload > 0) req.write(Buffer.alloc(upload, 'u'))
    req.end()
  })
}

/** `{ 200: 12, left: 3 }` */
class Tally {
  counts = {}
  total = 0
  add(result) {
    this.total++
    this.counts[result] = (this.counts[result] ?? 0) + 1
  }
  toString() {
    return Object.entries(this.counts)
      .map(([result, n]) => `${n} x ${result}`)
      .join(', ')
  }
}

/** Calls at a steady rate until `until` says so. */
async function steadily(perSecond, until, one, tally = new Tally()) {
  const under = new Set()
  while (!until()) {
    const job = one().then(result => {
      tally.add(result)
      under.delete(job)
    })
    under.add(job)
    await delay(1000 / perSecond)
  }
  await Promise.all(under)
  return tally
}

function during(ms) {
  const end = performance.now() + ms
  return () => performance.now() >= end
}

/** Everybody at once, again and again. */
async function waves(everyMs, callers, one) {
  const tally = new Tally()
  const over = during(incidentMs)
  while (!over()) {
    const next = delay(Math.min(everyMs, incidentMs))
    await Promise.all(Array.from({ length: callers }, () => one().then(result => tally.add(result))))
    await next
  }
  return tally
}

const callers = Number(CALLERS)

const incidents = {
  'broken-pipe': {
    does: 'reports answers 300 KB after 1 s; its callers wait 300 ms',
    look: 'outcome client_abort, party client; hopgate_client_abort_age_seconds shows 0.3 s; the backend is cancelled',
    run: async () => {
      await put(REPORTS_CONTROL, 'slow')
      return steadily(10, during(incidentMs), () => call(`${FRONT}/reports/1`, { patienceMs: 300 }))
    },
    end: () => put(REPORTS_CONTROL, 'well'),
  },
  'played-dead': {
    does: 'nobody reads the log',
    look: 'requests go on at the same speed; hopgate_log_sink_up 0 or hopgate_log_dropped_total grows',
    run: async () => {
      await put(LOGREADER_CONTROL, 'stop')
      // More lines than the pipe and log.buffer hold.
      const tally = new Tally()
      const over = during(incidentMs)
      return steadily(200, () => over() && tally.total >= 500, () => call(`${FRONT}/orders/1`), tally)
    },
    end: () => put(LOGREADER_CONTROL, 'read'),
  },
  'timeout-storm': {
    does: `orders stalls under ${callers} callers at once`,
    look: 'outcomes response_headers_timeout (504), queue_timeout and queue_full (503); route reports stays well',
    run: async () => {
      await put(ORDERS_CONTROL, 'stall')
      return waves(3000, callers, () => call(`${FRONT}/orders/1`))
    },
    end: () => put(ORDERS_CONTROL, 'well'),
  },
  'close-wait': {
    does: `orders reads no uploads; ${callers} callers send 200 KB each and leave after 300 ms`,
    look: 'outcome client_abort in stage request_write or queue; open descriptors and CLOSE_WAIT come back down',
    run: async () => {
      await put(ORDERS_CONTROL, 'deaf')
      return waves(3000, callers, () => call(`${FRONT}/orders/1`, { upload: 200 * 1024, patienceMs: 300 }))
    },
    end: () => put(ORDERS_CONTROL, 'well'),
  },
  'accept-queue': {
    does: `${CONNECTIONS} new connections at once, straight to the gateway, each with one request`,
    look: 'all are answered; hopgate_client_connections_total grows, the accept queue drops none',
    run: async () => {
      const tally = new Tally()
      const over = during(incidentMs)
      while (!over()) {
        const next = delay(Math.min(10_000, incidentMs))
        await Promise.all(Array.from({ length: Number(CONNECTIONS) }, () => onFreshConnection().then(r => tally.add(r))))
        await (over() ? undefined : next)
      }
      return tally
    },
    end: () => undefined,
  },
}

/** A request to a path that no route has: what is measured is the door, not a backend. */
function onFreshConnection() {
  const { hostname, port } = new URL(GATEWAY)
  return new Promise(resolve => {
    const socket = connect({ host: hostname, port: Number(port || 80) })
    socket.setTimeout(20_000, () => socket.destroy(new Error('no answer')))
    let head = ''
    socket.on('connect', () => socket.write('GET /door HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n'))
    socket.on('data', chunk => {
      head += chunk.toString('latin1')
    })
    socket.on('error', error => resolve(error.code ?? error.message))
    socket.on('close', () => resolve(head.slice(9, 12) || 'no answer'))
  })
}

async function perform(name) {
  const incident = incidents[name]
  say(`\n== ${name}: ${incident.does}`)
  say(`   look at: ${incident.look}`)
  const background = new Tally()
  let over = false
  // The other route: whoever is not concerned must not notice.
  const other = name === 'broken-pipe' ? 'orders' : 'reports'
  const going = steadily(5, () => over, () => call(`${FRONT}/${other}/0`), background)
  let tally
  try {
    tally = await incident.run()
  } finally {
    over = true
    await incident.end()
  }
  await going
  say(`   callers saw: ${tally}`)
  say(`   route ${other} meanwhile: ${background}`)
}

const named = process.argv.slice(2)
const unknown = named.filter(name => !(name in incidents))
if (unknown.length > 0) {
  process.stderr.write(`no such incident: ${unknown.join(', ')}; there are ${Object.keys(incidents).join(' ')}\n`)
  process.exit(64)
}

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))

if (named.length > 0) {
  for (const name of named) await perform(name)
  process.exit(0)
}
for (;;) {
  for (const name of Object.keys(incidents)) {
    await perform(name)
    const calm = during(quietMs)
    say(`   quiet for ${QUIET_SECONDS} s: ${await steadily(10, calm, () => call(`${FRONT}/orders/0`))}`)
  }
}
