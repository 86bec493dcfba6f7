/** `prove` has teeth: of a gateway with one defect it says which case misses, and exits 1. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Config, RouteConfig } from '../../src/config/config.ts'
import { type Gateway, type GatewayParts, startGateway } from '../../src/gateway.ts'
import type { Line } from '../../src/observe/line-buffer.ts'
import { RouteMetrics } from '../../src/observe/route-metrics.ts'
import { Connection } from '../../src/upstream/connection.ts'
import { Endpoint } from '../../src/upstream/endpoint.ts'
import { Upstream } from '../../src/upstream/upstream.ts'
import { textLine } from '../support/text-line.ts'
import { runProve, SMALL } from './small-config.ts'

type Start = (parts: GatewayParts) => Promise<Gateway>

interface Defect {
  readonly what: string
  /** A gateway with the defect; by default the sound one, for a defect that is patched in. */
  readonly start?: Start
  /** Patches the gateway's own code for as long as the run lasts; returns how to undo it. */
  readonly patch?: () => () => void
  /** The cases that are run: one that must miss, and sound ones of its kind. */
  readonly only: string
  readonly misses: readonly string[]
  /** What the report must say of it. */
  readonly says: RegExp
}

/** The gateway gets another configuration than the one that is proven. */
const configured =
  (change: (config: Config) => Config): Start =>
  parts =>
    startGateway({ ...parts, config: change(parts.config) })

const route = (change: (route: RouteConfig) => Partial<RouteConfig>): Start =>
  configured(config => ({ ...config, routes: config.routes.map(each => ({ ...each, ...change(each) })) }))

const timeouts = (values: Partial<Record<keyof RouteConfig['timeouts'], number>>): Start =>
  route(({ timeouts }) => ({
    timeouts: {
      ...timeouts,
      ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value, origin: 'defect' }])),
    },
  }))

/** Access lines pass through here; undefined: this one is lost. */
const lines =
  (change: (line: string) => string | undefined): Start =>
  parts => {
    const { sink } = parts
    const altered = Object.assign(Object.create(sink) as typeof sink, {
      writeAccess: (line: Line) => {
        const written = change(String(line))
        if (written !== undefined) sink.writeAccess(textLine(written))
      },
    })
    return startGateway({ ...parts, sink: altered })
  }

/** Replaces a method of a class; returns how to put it back. */
function replace<T extends object, K extends keyof T>(prototype: T, name: K, by: (original: T[K]) => T[K]): () => void {
  const original = prototype[name]
  prototype[name] = by(original)
  return () => {
    prototype[name] = original
  }
}

const defects: readonly Defect[] = [
  {
    what: 'a timer that is never armed',
    start: timeouts({ responseHeaders: Number.POSITIVE_INFINITY }),
    only: 'response_headers',
    misses: ['r response_headers'],
    says: /access line says outcome deadline_exceeded, not response_headers_timeout/,
  },
  {
    what: 'a timer that is armed with the wrong value',
    start: timeouts({ connect: 500 }),
    only: 'connect',
    misses: ['r connect'],
    says: /connect fired after \d+ ms, later than 350 ms/,
  },
  {
    what: 'a timer that fires too early',
    start: timeouts({ bodyIdle: 250 }),
    only: 'body_idle',
    misses: ['r body_idle'],
    says: /body_idle fired after \d+ ms, before its 400 ms/,
  },
  {
    what: 'a deadline that nothing fires in the stead of',
    start: timeouts({ request: 2000 }),
    only: 'request',
    misses: ['r request'],
    says: /request fired after \d+ ms, later than 1200 ms/,
  },
  {
    what: 'a keep-alive that lasts too long',
    start: configured(config => {
      const { listen } = config
      const keepalive = { value: 5000, origin: 'defect' }
      return { ...config, listen: { ...listen, timeouts: { ...listen.timeouts, keepalive } } }
    }),
    only: 'keepalive',
    misses: ['r listen.timeouts.keepalive'],
    says: /listen\.timeouts\.keepalive did not fire/,
  },
  {
    what: 'an abort that does not cancel',
    start: route(() => ({ onClientAbort: { value: 'finish', origin: 'defect' } })),
    only: 'response_headers',
    misses: ['r client leaves in response_headers'],
    says: /look at {3}on_client_abort/,
  },
  {
    what: 'an upstream that is cancelled late',
    patch: () =>
      replace(Connection.prototype, 'kill', original => {
        return function (this: Connection, ...reason) {
          setTimeout(() => original.apply(this, reason), 300)
        }
      }),
    only: 'response_headers',
    misses: ['r response_headers', 'r client leaves in response_headers'],
    says: /the upstream connection was closed only \d+ ms later/,
  },
  {
    what: 'an outcome that is called by another name',
    start: lines(line => line.replace('"outcome":"queue_timeout"', '"outcome":"overloaded"')),
    only: 'queue',
    misses: ['r queue'],
    says: /access line says outcome overloaded, not queue_timeout/,
  },
  {
    what: 'a wrong party',
    start: lines(line => line.replace('"party":"client"', '"party":"upstream"')),
    only: 'response_body',
    misses: ['r client leaves in response_body'],
    says: /access line says party upstream, not client/,
  },
  {
    what: 'a status that the log tells otherwise',
    start: lines(line => line.replace('"status":502', '"status":504')),
    only: 'connect_refused',
    misses: ['r connect_refused'],
    says: /access line says status 504, not 502/,
  },
  {
    what: 'a log line that is missing',
    start: lines(line => (line.includes('"outcome":"client_abort"') ? undefined : line)),
    only: 'client_write',
    misses: ['r client leaves in client_write'],
    says: /no access line was written/,
  },
  {
    what: 'a slot that leaks',
    patch: () => replace(Upstream.prototype, 'slotReturned', () => () => {}),
    only: 'truncated',
    misses: ['r truncated'],
    says: /hopgate_accounting_imbalance\{ledger="slots"\} is 1, not 0/,
  },
  {
    what: 'a connection that is never let go',
    patch: () => replace(Endpoint.prototype, 'connectionClosed', () => () => {}),
    only: 'reset',
    misses: ['r reset before headers', 'r reset in mid-body'],
    says: /hopgate_pool_connections\{state="idle"\} is 1, not 0/,
  },
  {
    what: 'a metric that is missing',
    patch: () => replace(RouteMetrics.prototype, 'timeoutFired', () => () => {}),
    only: 'request_write',
    misses: ['r request_write'],
    says: /hopgate_timeouts_total\{timeout="request_write"\} did not count it/,
  },
]

for (const { what, start, patch, only, misses, says } of defects) {
  test(`${what}: exit 1, and the case that it breaks is named`, async () => {
    const undo = patch?.()
    try {
      const run = await runProve(SMALL, { only, ...(start === undefined ? {} : { start }) })
      assert.equal(run.code, 1, run.stdout)
      for (const name of misses) assert.ok(run.misses.includes(name), `${name} among ${run.misses.join(', ')}`)
      assert.match(run.stdout, says)
      assert.match(run.stdout, new RegExp(`MISS {2}${misses[0]}\\n`))
      assert.ok(run.junit.includes('<failure'))
    } finally {
      undo?.()
    }
  })
}

test('of one defect only the cases it breaks are misses', async () => {
  const run = await runProve(SMALL, { start: timeouts({ responseHeaders: Number.POSITIVE_INFINITY }) })
  assert.deepEqual(run.misses, ['r response_headers'], run.stdout)
})
