/**
 * When each timeout of the upstream hop fires: never before its time, and soon after. The lower bound is exact, from
 * an instant before its first event; the upper one is generous, since a test machine is not idle. What was measured is
 * printed.
 */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { sharedBlackHole } from '../../src/prove/black-hole.ts'
import type { RequestFault } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'
import type { RawResponse } from '../../src/prove/raw-response.ts'
import { type GatewaySpec, startTestGateway } from '../support/gateway.ts'
import { slack } from './support.ts'

const GENEROUS_MS = 400
const ROUNDS = 5
const MIB = 1024 * 1024

interface TimeoutCase {
  readonly timeout: string
  readonly ms: number
  readonly outcome: string
  readonly stage: string
  readonly party?: string
  /** 0: cut. */
  readonly status: number
  readonly fault: RequestFault | 'black-hole'
  readonly route?: string
  readonly methods?: readonly string[]
  readonly bodyBytes?: number
  /** Above `GENEROUS_MS`: the kernel's word for "nothing is taken" is dear where the machine has many sockets. */
  readonly withinMs?: number
  /** The one slot of the upstream is taken. */
  readonly occupied?: true
  /** The client stops reading when it has the headers. */
  readonly stopsReading?: true
}

const hang: RequestFault = { on: 'headers', then: 'hang' }
const midBody: RequestFault = { on: 'body', then: 'hang', afterBytes: 1000 }
const deadline = { timeout: 'request', ms: 200, outcome: 'deadline_exceeded', party: 'upstream' } as const

const cases: readonly TimeoutCase[] = [
  {
    timeout: 'queue',
    ms: 200,
    outcome: 'queue_timeout',
    stage: 'queue',
    party: 'gateway',
    status: 503,
    fault: hang,
    occupied: true,
  },
  { timeout: 'connect', ms: 200, outcome: 'connect_timeout', stage: 'connect', status: 504, fault: 'black-hole' },
  {
    timeout: 'request_write',
    ms: 200,
    outcome: 'request_write_timeout',
    stage: 'request_write',
    status: 504,
    fault: { on: 'request', then: 'stop-reading' },
    route: ', limits: { body: 64MiB }',
    methods: ['POST'],
    bodyBytes: 24 * MIB,
    withinMs: 1000,
  },
  {
    timeout: 'response_headers',
    ms: 200,
    outcome: 'response_headers_timeout',
    stage: 'response_headers',
    status: 504,
    fault: hang,
  },
  { timeout: 'body_idle', ms: 200, outcome: 'body_idle_timeout', stage: 'response_body', status: 0, fault: midBody },
  { ...deadline, stage: 'queue', party: 'gateway', status: 504, fault: hang, occupied: true },
  { ...deadline, stage: 'connect', status: 504, fault: 'black-hole' },
  { ...deadline, stage: 'response_headers', status: 504, fault: hang },
  { ...deadline, stage: 'response_body', status: 0, fault: midBody },
  {
    ...deadline,
    // Time enough to fill the buffers between us and the client, on a busy machine too.
    ms: 600,
    stage: 'client_write',
    party: 'client',
    status: 0,
    fault: { on: 'request', then: 'answer', answer: { body: 64 * MIB } },
    stopsReading: true,
  },
]

const measured: string[] = []
after(() => process.stdout.write(`# overruns, p50/max ms: ${measured.join(', ')}\n`))

describe('each timeout', { concurrency: 3 }, () => {
  for (const one of cases) {
    for (const method of one.methods ?? ['GET', 'POST']) {
      const { timeout, ms, outcome, stage, party = 'upstream', status, withinMs = GENEROUS_MS } = one
      const name = `${method}: ${timeout} in ${stage}: ${outcome}, within [${ms}, ${ms + withinMs}] ms`
      test(name, async t => {
        const blackHole = one.fault === 'black-hole'
        const upstream = one.fault === 'black-hole' ? undefined : await startUpstream(one.fault)
        if (upstream !== undefined) t.after(() => upstream.close())
        const url = upstream?.url ?? `http://127.0.0.1:${(await sharedBlackHole()).port}`
        const gw = await startTestGateway(t, withRoutes(url, one))
        const occupant = one.occupied ? await openClient(gw.port) : undefined
        if (occupant !== undefined) {
          occupant.request({ path: '/occupy' })
          await upstream?.nextRequest()
        }
        const overruns: number[] = []
        for (let round = 0; round < ROUNDS; round++) {
          const client = await openClient(gw.port)
          const startedAt = performance.now()
          const response = await askOnce(client, method, one)
          assert.equal(response.seen.complete, status !== 0)
          client.leave('rst')
          const line = await gw.line()
          // A client that does not read learns of the end from the socket table, up to 25 ms late.
          const tookMs = one.stopsReading ? (line['t_total'] as number) : response.endedAt - startedAt
          overruns.push(tookMs - ms)
          assert.deepEqual(
            [line.outcome, line.stage, line.party, line['method'], line.status],
            [outcome, stage, party, method, status || 200],
            JSON.stringify(line),
          )
          // In the access line's own words, too.
          assert.ok((line['t_total'] as number) >= ms, JSON.stringify(line))
        }
        overruns.sort((a, b) => a - b)
        const [first = -1, last = 0] = [overruns[0], overruns.at(-1)]
        measured.push(`${timeout} in ${stage} ${method} ${overruns[ROUNDS >> 1]?.toFixed(1)}/${last.toFixed(1)}`)
        assert.ok(first >= 0, `fired ${-first} ms before its time`)
        assert.ok(last <= slack(withinMs), `fired ${last} ms after its time`)
        assert.equal(await gw.metric('hopgate_timeouts_total', { route: 'r', timeout }), ROUNDS)
        assert.equal(await gw.metric('hopgate_timeouts_total'), ROUNDS)
        if (!blackHole && !one.occupied) await upstream?.allClosed()
        occupant?.leave('rst')
      })
    }
  }
})

function withRoutes(url: string, { timeout, ms, occupied, route = '' }: TimeoutCase): GatewaySpec {
  const patient = 'timeouts: { request: off, queue: 30s, connect: 30s, response_headers: 30s, body_idle: 30s }'
  const pool = occupied ? ', pool: { max_connections: 1 }' : ''
  const others = timeout === 'request' ? '' : ', request: off'
  return {
    upstreams: `  up: { endpoints: ["${url}"]${pool}, ${patient} }`,
    routes: [
      `  - { name: r, match: { path_prefix: / }, upstream: up, timeouts: { ${timeout}: ${ms}ms${others} }${route} }`,
      `  - { name: occupy, match: { path_prefix: /occupy }, upstream: up }`,
    ].join('\n'),
  }
}

async function askOnce(
  client: RawClient,
  method: string,
  { bodyBytes = 1000, stopsReading }: TimeoutCase,
): Promise<{ seen: Pick<RawResponse, 'complete'>; endedAt: number }> {
  const pending = client.request({ method, path: '/a', ...(method === 'GET' ? {} : { body: bodyBytes }) })
  if (stopsReading) {
    await pending.headers
    client.pause()
    return { seen: { complete: false }, endedAt: (await client.closed).at }
  }
  const seen = await pending.response
  return { seen, endedAt: seen.doneAt }
}

test('request starts at the last byte of an upload: one that takes twice as long is no part of it', async t => {
  const upstream = await startUpstream(hang)
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, {
    upstreams: `  up: { endpoints: ["${upstream.url}"] }`,
    routes: '  - { name: r, match: { path_prefix: / }, upstream: up, timeouts: { request: 200ms } }',
  })
  const client = await openClient(gw.port)
  const pending = client.requestHead({ method: 'POST', path: '/a', headers: [['Content-Length', '9']] })
  await client.drip('too slow', { bytesPerTick: 1, tickMs: 60 })
  const lastByteAt = performance.now()
  await client.send('!')
  const response = await pending.response
  client.leave('rst')
  assert.equal(response.status, 504)
  const tookMs = response.doneAt - lastByteAt
  assert.ok(tookMs >= 200 && tookMs <= 200 + slack(GENEROUS_MS), `${tookMs} ms after the last byte`)
  const line = await gw.line()
  assert.deepEqual([line.outcome, line.stage], ['deadline_exceeded', 'response_headers'])
})

test('response_headers starts when the last byte of the request is written: time in the queue is no part of it', async t => {
  const upstream = await startUpstream(hang)
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, {
    upstreams: `  up: { endpoints: ["${upstream.url}"], pool: { max_connections: 1 } }`,
    routes: [
      '  - { name: first, match: { path: /1 }, upstream: up, timeouts: { response_headers: 300ms } }',
      '  - { name: second, match: { path: /2 }, upstream: up, timeouts: { response_headers: 200ms, queue: 5s } }',
    ].join('\n'),
  })
  const clients = await Promise.all([openClient(gw.port), openClient(gw.port)])
  const first = clients[0]?.request({ path: '/1' })
  await upstream.nextRequest()
  const second = clients[1]?.request({ path: '/2' })
  const [one, two] = [await first?.response, await second?.response]
  for (const client of clients) client.leave('rst')
  assert.deepEqual([one?.status, two?.status], [504, 504])
  const tookMs = (two?.doneAt ?? 0) - (one?.doneAt ?? 0)
  assert.ok(tookMs >= 195 && tookMs <= 200 + slack(GENEROUS_MS), `${tookMs} ms after the slot was free`)
  await gw.line()
  const line = await gw.line()
  assert.equal(line.outcome, 'response_headers_timeout')
  assert.ok((line['t_response_headers'] as number) >= 200, JSON.stringify(line))
})
