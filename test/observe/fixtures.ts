/** An exchange record, a configuration and live values to observe: complete, and each changeable in part. */
import type { Config, RouteTimeouts, Sourced, UpstreamConfig } from '../../src/config/config.ts'
import { Ledger } from '../../src/observe/ledger.ts'
import type { MetricsDeps } from '../../src/observe/live-metrics.ts'
import { type ExchangeRecord, Whereabouts } from '../../src/observe/record.ts'

export function record(changes: Partial<ExchangeRecord> = {}): ExchangeRecord {
  return {
    requestId: '0190a1b2-0000-7000-8000-000000000001',
    routeName: 'orders',
    where: new Whereabouts(),
    upstreamName: 'orders',
    endpointUrl: 'http://127.0.0.1:3001',
    method: 'GET',
    host: 'example.test',
    path: '/api/orders/7',
    proto: 'HTTP/1.1',
    clientAddress: '127.0.0.1',
    status: 200,
    outcome: 'completed',
    stage: undefined,
    party: 'none',
    rxBytes: 0,
    txBytes: 512,
    abortedWrites: 0,
    abortedWriteBytes: 0,
    reused: true,
    attempts: 1,
    times: { queue: 0.012, connect: -1, requestWrite: 0.1, responseHeaders: 1.25, responseBody: 0.5, total: 2.0004 },
    clientAbortAge: -1,
    timeout: undefined,
    timeoutOverrun: 0,
    error: undefined,
    ...changes,
  }
}

const sourced = <T>(value: T): Sourced<T> => ({ value, origin: 'built-in' })

const timeouts: RouteTimeouts = {
  request: sourced(15_000),
  queue: sourced(1000),
  connect: sourced(2000),
  requestWrite: sourced(10_000),
  responseHeaders: sourced(10_000),
  bodyIdle: sourced(10_000),
}

const orders: UpstreamConfig = {
  name: 'orders',
  endpoints: [1, 2].map(n => ({
    url: `http://127.0.0.1:300${n}`,
    tls: false,
    hostname: '127.0.0.1',
    port: 3000 + n,
    authority: `127.0.0.1:300${n}`,
  })),
  balance: 'least_request',
  pool: { maxConnections: 128, keepaliveMs: 4000, maxAgeMs: 300_000, queue: 256 },
  tls: { verify: true, caFile: null, serverName: null },
}

const ordersRoute: Config['routes'][number] = {
  name: 'orders',
  match: { host: null, kind: 'prefix', path: '/api/orders', methods: null, encodedSlashes: 'refuse' },
  rewrite: { path: null, host: { kind: 'upstream' } },
  upstream: 'orders',
  streaming: false,
  timeouts,
  onClientAbort: sourced('cancel'),
  limits: { bodyBytes: sourced(10 * 2 ** 20), inFlight: sourced(1024) },
  slo: { availability: null, latency: [] },
  requestHeaders: { set: [], remove: [] },
  responseHeaders: { set: [], remove: [] },
  websocket: null,
}

/** Two routes, `orders` and the streaming `events` (no `request` deadline), to one upstream of two endpoints. */
export const config: Config = {
  listen: {
    address: { host: '127.0.0.1', port: 0 },
    backlog: 4096,
    maxConnections: 10_000,
    maxHeaderBytes: 16_384,
    minBodyRate: { bytesPerSecond: 240, graceMs: 5000 },
    timeouts: {
      headers: sourced(10_000),
      bodyIdle: sourced(10_000),
      writeIdle: sourced(10_000),
      keepalive: sourced(75_000),
    },
    trustedProxies: [],
  },
  admin: { host: '127.0.0.1', port: 0 },
  log: { level: 'info', destination: 'stdout', access: true, bufferBytes: 8 * 2 ** 20 },
  drain: { delayMs: 0, deadlineMs: 1000 },
  selfprobe: null,
  watchdog: null,
  upstreams: [orders],
  routes: [
    ordersRoute,
    {
      ...ordersRoute,
      name: 'events',
      streaming: true,
      timeouts: { ...timeouts, request: sourced(Number.POSITIVE_INFINITY) },
    },
  ],
  neighbours: {
    front: { responseTimeoutMs: null, keepaliveIdleMs: null },
    upstreams: [],
    kubernetes: { terminationGracePeriodMs: null },
  },
  preflight: 'off',
  hash: '0123456789ab',
  warnings: [],
}

export function deps(changes: Partial<MetricsDeps> = {}): MetricsDeps {
  return {
    version: '0.1.0',
    inflight: () => 0,
    oldestInflightSeconds: () => 0,
    queueDepth: () => 0,
    poolConnections: () => ({ connecting: 0, active: 0, idle: 0 }),
    idleCloses: () => 0,
    clientConnections: () => 0,
    log: { written: { access: 0, event: 0 }, dropped: { access: 0, event: 0 }, up: true, bufferedBytes: 0 },
    ledger: new Ledger(),
    ...changes,
  }
}

/** A line of the exposition text. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads the Prometheus text format as far as we write it: no timestamps, no exemplars. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = []
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [, name = '', labelText = '', value = ''] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (name === '') throw new Error(`not a sample: ${line}`)
    const labels: Record<string, string> = {}
    for (const [, label = '', labelValue = ''] of labelText.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[label] = labelValue
    samples.push({ name, labels, value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) })
  }
  return samples
}

/** The value of the one series with this name and these labels, in whatever order. */
export function valueIn(
  samples: readonly Sample[],
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const wanted = Object.entries(labels)
  const found = samples.filter(
    sample =>
      sample.name === name &&
      Object.keys(sample.labels).length === wanted.length &&
      wanted.every(([label, value]) => sample.labels[label] === value),
  )
  if (found.length > 1) throw new Error(`${name} ${JSON.stringify(labels)} appears ${found.length} times`)
  return found[0]?.value
}
