/**
 * The whole way, with a real Prometheus: a gateway that is a process of its own is scraped, a storm of 504s and one of
 * 499s are made, exactly the alerts of `hopgate rules` that should fire do, and end when the storms have. Every query of
 * the dashboard is asked of the same Prometheus, and has an answer.
 */
import assert from 'node:assert/strict'
import { Agent, get } from 'node:http'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { ROWS } from '../../deploy/grafana/panels.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient } from '../../src/prove/raw-client.ts'
import { freePort, runCli, startRun, writeConfig } from '../gateway/process.ts'
import { startBackend } from '../websocket/support.ts'
import { type ActiveAlert, type Prometheus, startPrometheus, withoutPrometheus } from './prometheus.ts'

/** Windows of 5 minutes become 6 s. */
const SCALE = '0.02'
const PATIENCE_MS = 60_000

/**
 * These judge the machine, whose load is not the test's to choose; and what the kernel's view kept for 5 s is long for
 * windows that were made short.
 */
const OF_THE_MACHINE = [
  'HopgateLoopDelay',
  'HopgateTimeoutsLate',
  'HopgateStalls',
  'HopgateAcceptQueueOverflows',
  'HopgateCloseWait',
]

const told = ({ labels }: ActiveAlert): string =>
  [labels['alertname'], labels['route'], labels['outcome'], labels['party']]
    .filter(word => word !== undefined)
    .join(' ')

async function firing(prometheus: Prometheus): Promise<ActiveAlert[]> {
  const alerts = await prometheus.alerts()
  return alerts.filter(({ state, labels }) => state === 'firing' && !OF_THE_MACHINE.includes(labels['alertname'] ?? ''))
}

async function until(what: string, reached: () => Promise<string | true>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const state = await reached()
    if (state === true) return
    assert.ok(performance.now() < deadline, `not within ${PATIENCE_MS} ms: ${what}: ${state}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

test('a storm of 504s and one of 499s: exactly their alerts fire, and end; every panel of the dashboard has data', {
  skip: withoutPrometheus,
  timeout: 110_000,
}, async t => {
  const upstream = await startUpstream(({ path }) =>
    path.startsWith('/well') ? answer() : { on: 'headers', then: 'hang' },
  )
  t.after(() => upstream.close())
  const backend = await startBackend(t)
  const [port, adminPort] = [await freePort(), await freePort()]
  const config = writeConfig(
    t,
    `listen: { address: "127.0.0.1:${port}" }
admin: { address: "127.0.0.1:${adminPort}" }
drain: { delay: 10ms, deadline: 1s }
log: { destination: /dev/null }
upstreams:
  up: { endpoints: ["${upstream.url}"] }
  talks: { endpoints: ["${backend.url}"] }
routes:
  - { name: well, match: { path_prefix: /well }, upstream: up }
  - { name: hangs, match: { path_prefix: /hangs }, upstream: up, timeouts: { response_headers: 200ms } }
  - { name: left, match: { path_prefix: /left }, upstream: up }
  - { name: socket, match: { path_prefix: /socket }, upstream: talks, websocket: { mode: relay } }
`,
  )
  const rules = await runCli(t, ['rules', '-c', config, '--scale', SCALE])
  assert.deepEqual([rules.code, rules.stderr], [0, ''])
  await startRun(t, config, adminPort)
  const prometheus = await startPrometheus(t, adminPort, rules.stdout)

  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  t.after(() => agent.destroy())
  const ask = (path: string): void => {
    const request = get({ host: '127.0.0.1', port, path, agent }, response => response.resume())
    request.on('error', () => {})
  }
  const leave = async (): Promise<void> => {
    const client = await openClient(port)
    client.request({ path: '/left' }).response.catch(() => {})
    await new Promise(resolve => setTimeout(resolve, 50))
    client.leave('rst')
  }
  const talk = (): void => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`)
    socket.on('open', () => socket.send('hello'))
    socket.on('message', () => socket.close(1000))
    socket.on('error', () => {})
  }
  let storms = true
  let turn = 0
  const traffic = setInterval(() => {
    ask('/well')
    if (turn++ % 5 === 0) talk()
    if (!storms) {
      ask('/well')
      return
    }
    ask('/hangs')
    leave().catch(() => {})
  }, 100)
  t.after(() => clearInterval(traffic))

  const wanted = [
    'HopgateClientsLeave left',
    'HopgateFailures hangs response_headers_timeout upstream',
    'HopgateGatewayTimeouts hangs response_headers_timeout',
  ]
  let alerts: ActiveAlert[] = []
  await until('the alerts of both storms', async () => {
    alerts = await firing(prometheus)
    const names = alerts.map(told).sort()
    return names.join() === wanted.join() || `firing: ${names.join('; ') || 'nothing'}`
  })
  const summary = (name: string): string =>
    alerts.find(({ labels }) => labels['alertname'] === name)?.annotations['summary'] ?? ''
  assert.match(
    summary('HopgateGatewayTimeouts'),
    /^route hangs: \d+(\.\d+)?% of its requests are answered 504 \(response_headers_timeout\)$/,
  )
  assert.match(summary('HopgateClientsLeave'), /^route left: \d+(\.\d+)?% of its clients leave/)

  const empty: string[] = []
  for (const { panels } of ROWS) {
    for (const { title, queries } of panels) {
      for (const { expr } of queries) {
        const plain = expr.replaceAll('$__rate_interval', '20s').replaceAll(/\$(?:instance|route)/g, '.*')
        const samples = await prometheus.query(plain)
        if (!samples.some(({ value }) => Number.isFinite(value))) empty.push(`${title}: ${plain}`)
      }
    }
  }
  assert.deepEqual(empty, [], 'panels without data')

  storms = false
  await until('the end of the alerts', async () => {
    const names = (await firing(prometheus)).map(told)
    return names.length === 0 || `firing: ${names.join('; ')}`
  })
  const counted = await prometheus.query('sum by (route) (hopgate_failures_total)')
  assert.deepEqual(counted.map(({ metric }) => metric['route']).sort(), ['hangs', 'left'])
})
