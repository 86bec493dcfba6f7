// The load generator and upstream where there is no Go: the same jobs over the same JSON lines (job.go says which), with
// less precision, as all of it shares one event loop with a garbage collector.

import { Agent, createServer, request } from 'node:http'
import { createInterface } from 'node:readline'

const SMALL = Buffer.alloc(500, 'x')
const LARGE = Buffer.alloc(256 * 1024, 'x')
const GRACE_MS = 5000
const say = answer => process.stdout.write(`${JSON.stringify(answer)}\n`)
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const quantile = (sorted, q) => (sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0) * 1000
const ordered = samples => Float64Array.from(samples).sort()

let inFlight = 0
let held = []
let storm

const server = createServer({ keepAliveTimeout: 300_000, requestTimeout: 0, headersTimeout: 0 }, (req, res) => {
  const answer = () => res.writeHead(200, { 'content-type': 'text/plain', 'content-length': SMALL.length }).end(SMALL)
  const { url } = req
  if (url.startsWith('/large')) {
    res.writeHead(200, { 'content-type': 'text/plain', 'content-length': LARGE.length }).end(LARGE)
  } else if (url.startsWith('/hold') || url.startsWith('/slow/')) {
    const id = Number(/\?id=(\d+)/.exec(url)?.[1] ?? 0)
    if (id > 0) storm?.reached.add(id)
    let over = false
    inFlight++
    const end = finished => {
      if (over) return
      over = true
      inFlight--
      if (finished) answer()
      if (id > 0) storm?.ended(id, finished)
    }
    res.once('close', () => end(false))
    if (url.startsWith('/hold')) held.push(() => end(true))
    else setTimeout(() => end(true), Number(/^\/slow\/(\d+)/.exec(url)?.[1]))
  } else {
    req.resume().once('end', answer)
  }
})

function load(job) {
  const result = { id: job.id, ok: 0, non2xx: 0, errors: 0, why: {} }
  const agent = new Agent({ keepAlive: job.close !== true, maxSockets: job.conns, maxFreeSockets: job.conns })
  const body = job.body > 0 ? Buffer.alloc(job.body, 'x') : undefined
  const samples = []
  let issued = 0
  const blame = why => {
    result.why[why] = (result.why[why] ?? 0) + 1
  }
  const send = due =>
    new Promise(resolve => {
      const path = job.many > 0 ? job.path.replace('%d', String(issued % job.many)) : job.path
      issued++
      const headers = body === undefined ? {} : { 'content-type': 'application/octet-stream', 'content-length': body.length }
      const req = request({ agent, host: '127.0.0.1', port: job.port, path, method: body ? 'POST' : 'GET', headers }, res => {
        res.resume().once('end', () => {
          samples.push(performance.now() - due)
          const fine = res.statusCode >= 200 && res.statusCode < 300
          if (fine) result.ok++
          else {
            result.non2xx++
            blame(`status ${res.statusCode}`)
          }
        })
        res.once('close', resolve)
      })
      req.once('error', error => {
        result.errors++
        blame(error.code ?? error.message)
        resolve()
      })
      req.setTimeout(job.ms + GRACE_MS, () => req.destroy(new Error('no answer in time')))
      req.end(body)
    })
  const begun = performance.now()
  const until = begun + job.ms
  const more = () => performance.now() < until && (job.count === undefined || issued < job.count)
  const closedLoop = async i => {
    await sleep(((job.ramp ?? 0) * i) / job.conns)
    if (job.kind === 'hold') await send(performance.now())
    else while (more()) await send(performance.now())
  }
  const openLoop = async () => {
    const total = (job.rate * job.ms) / 1000
    const all = []
    while (all.length < total) {
      const due = begun + (all.length * 1000) / job.rate
      if (due > performance.now()) await sleep(1)
      else all.push(send(due))
    }
    await Promise.all(all)
  }
  const work = job.kind === 'rate' ? openLoop() : Promise.all(Array.from({ length: job.conns }, (_, i) => closedLoop(i)))
  return work.then(() => {
    agent.destroy()
    const sorted = ordered(samples)
    const [p50, p99, max] = [0.5, 0.99, 1].map(q => quantile(sorted, q))
    say({ ...result, seconds: (performance.now() - begun) / 1000, p50, p99, max })
  })
}

let nextId = 0

async function abortStorm(job) {
  const left = new Map()
  const lags = []
  const result = { id: job.id, aborts: 0, closed: 0, ranToItsEnd: 0, closedEarly: 0, errors: 0, why: {} }
  const own = { reached: new Set() }
  own.ended = (id, finished) => {
    const at = left.get(id)
    left.delete(id)
    if (finished) result.ranToItsEnd++
    else if (at === undefined) result.closedEarly++
    else {
      result.closed++
      lags.push(performance.now() - at)
    }
  }
  storm = own
  const leave = () => {
    result.aborts++
    const id = ++nextId
    const req = request({ agent: false, host: '127.0.0.1', port: job.port, path: `${job.path}?id=${id}` })
    let leaving = false
    req.on('error', error => {
      if (leaving) return
      result.errors++
      result.why[error.code] = (result.why[error.code] ?? 0) + 1
    })
    req.once('finish', () => setTimeout(() => {
      leaving = true
      left.set(id, performance.now())
      req.destroy()
    }, job.leave))
    req.end()
  }
  const begun = performance.now()
  while (performance.now() < begun + job.ms) {
    while (result.aborts < ((performance.now() - begun) * job.rate) / 1000) leave()
    await sleep(1)
  }
  await sleep(1500)
  const neverReached = [...left.keys()].filter(id => !own.reached.has(id)).length
  const sorted = ordered(lags)
  const [p50, p99, max] = [0.5, 0.99, 1].map(q => quantile(sorted, q))
  say({ ...result, neverReached, pending: left.size - neverReached, p50, p99, max })
}

function run(job) {
  if (job.kind === 'abort') return abortStorm(job)
  if (job.kind === 'inflight') return say({ id: job.id, inflight: inFlight })
  if (job.kind !== 'release') return load(job)
  for (const answer of held) answer()
  held = []
  return say({ id: job.id })
}

server.listen({ port: 0, host: '127.0.0.1', backlog: 8192 }, () => say({ port: server.address().port }))
createInterface({ input: process.stdin })
  .on('line', line => run(JSON.parse(line)))
  .on('close', () => process.exit(0))
