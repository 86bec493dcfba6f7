/**
 * A real gateway for tests: from YAML, on loopback ports, with its log in memory. Ending it checks the books: every
 * test that uses it also proves that nothing leaked.
 */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { type Gateway, startGateway } from '../../src/gateway.ts'

/** An access line, parsed. */
export type AccessLine = Readonly<Record<string, unknown>> & {
  readonly outcome: string
  readonly stage?: string
  readonly status: number
  readonly party: string
  readonly route: string
  readonly path: string
  readonly request_id: string
}

export interface TestGateway {
  readonly gateway: Gateway
  readonly port: number
  readonly url: string
  readonly lines: readonly AccessLine[]
  /** The gateway's own lines, parsed. */
  readonly events: readonly Readonly<Record<string, unknown>>[]
  /** The access line of the next exchange that ends, or has ended and was not asked for yet. */
  line(): Promise<AccessLine>
  /** `hopgate_requests_total` and the like: the sum of the samples whose labels include `labels`. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>
  admin(path: string): Promise<{ status: number; body: unknown }>
  /** Waits until nothing is in flight and every book is balanced, then closes. Called at the end of the test anyway. */
  stop(): Promise<void>
}

export interface GatewaySpec {
  /** Under `routes:`; indented by two. */
  readonly routes: string
  /** Under `upstreams:`. */
  readonly upstreams: string
  /** Where it listens; default a free port of 127.0.0.1. */
  readonly address?: string
  /** Where operators look; default a free port of 127.0.0.1. */
  readonly admin?: string
  /** Under `listen:`, beside the address. */
  readonly listen?: string
  readonly defaults?: string
  /** Default: off, so that every request and connection is the test's own. */
  readonly selfprobe?: string
  readonly rest?: string
}

/** One upstream named `up` with this endpoint, and one route `r` for everything with these timeouts. */
export function simple(endpoint: string, route = '', upstream = ''): GatewaySpec {
  return {
    upstreams: `  up: { endpoints: ["${endpoint}"] ${upstream === '' ? '' : `, ${upstream}`} }`,
    routes: `  - { name: r, match: { path_prefix: / }, upstream: up ${route === '' ? '' : `, ${route}`} }`,
  }
}

export async function startTestGateway(t: TestContext, spec: GatewaySpec): Promise<TestGateway> {
  const yaml = [
    'listen:',
    `  address: "${spec.address ?? '127.0.0.1:0'}"`,
    spec.listen ?? '',
    `admin: { address: "${spec.admin ?? '127.0.0.1:0'}" }`,
    spec.defaults === undefined ? '' : `defaults:\n${spec.defaults}`,
    `selfprobe: ${spec.selfprobe ?? 'off'}`,
    'upstreams:',
    spec.upstreams,
    'routes:',
    spec.routes,
    spec.rest ?? 'drain: { delay: 10ms, deadline: 2s }',
  ].join('\n')
  const parsed = parseConfig(yaml, { env: {}, baseDir: '/' })
  if (!parsed.ok) {
    assert.fail(`${yaml}\n${parsed.errors.map(e => `${e.line}:${e.column} ${e.path}: ${e.message}`).join('\n')}`)
  }
  const lines: AccessLine[] = []
  const events: Record<string, unknown>[] = []
  const arrivals = new EventEmitter()
  let asked = 0
  const gateway = await startGateway({
    config: parsed.config,
    version: 'test',
    sink: {
      write: line => {
        events.push(JSON.parse(line) as Record<string, unknown>)
      },
      writeAccess: line => {
        lines.push(JSON.parse(String(line)) as AccessLine)
        arrivals.emit('line')
      },
      written: { access: 0, event: 0 },
      dropped: { access: 0, event: 0 },
      up: true,
      bufferedBytes: 0,
    },
  })
  const adminUrl = `http://127.0.0.1:${gateway.adminAddress.port}`
  const metric = async (name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> => {
    const text = await (await fetch(`${adminUrl}/metrics`)).text()
    return sumOf(text, name, labels)
  }
  let stopped: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    const deadline = performance.now() + 10_000
    for (;;) {
      const inflight = await metric('hopgate_inflight_requests')
      const books = await Promise.all(
        ['requests', 'slots', 'timers'].map(ledger => metric('hopgate_accounting_imbalance', { ledger })),
      )
      if (inflight === 0) {
        assert.deepEqual(books, [0, 0, 0], 'hopgate_accounting_imbalance of requests, slots, timers')
        break
      }
      assert.ok(performance.now() < deadline, `${inflight} exchanges still in flight 10 s after the test`)
    }
    gateway.cut()
    await gateway.close()
  }
  const once_ = (): Promise<void> => {
    stopped ??= stop()
    return stopped
  }
  t.after(once_)
  return {
    gateway,
    port: gateway.address.port,
    url: `http://127.0.0.1:${gateway.address.port}`,
    lines,
    events,
    line: async () => {
      const mine = asked++
      const late = AbortSignal.timeout(10_000)
      while (lines.length <= mine) {
        await once(arrivals, 'line', { signal: late }).catch(() => assert.fail('no access line within 10 s'))
      }
      return lines[mine] as AccessLine
    },
    metric,
    admin: async path => {
      const response = await fetch(adminUrl + path)
      const text = await response.text()
      return { status: response.status, body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text }
    },
    stop: once_,
  }
}

/** The sum of all samples of `name` whose labels include `labels`. */
export function sumOf(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue
    if (!Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) continue
    sum += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sum
}
