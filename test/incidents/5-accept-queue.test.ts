/**
 * Accept queue. For a second the gateway's event loop stands still (a synchronous write, a garbage collection), while
 * 3000 callers connect. The kernel completes their handshakes without the process, as long as the listener's backlog has
 * room: 511 by Node's default. For the others it drops the SYN; their kernels send it again a second later, then two, and
 * the callers' own timeouts end many of them. No log and no metric of the gateway knows of it.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'
import { spread } from '../exchange/waiting.ts'
import { forAll, type Process, socketsIn, startHopgate, startNaive } from './support.ts'

const NODE_BACKLOG = 511
const HOPGATE_BACKLOG = 4096
const somaxconn = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
/** The kernel takes one more than the backlog (`sk_acceptq_is_full` compares with >). */
const room = (backlog: number): number => Math.min(backlog, somaxconn) + 1
/** Where the kernel's own limit is lower than hopgate's default, so is what can be asked of it. */
const BURST = Math.min(3000, room(HOPGATE_BACKLOG))

interface Burst {
  /** Connections whose handshake was complete while the event loop was still held. */
  readonly whileHeld: number
  /** SYNs that got no answer by then: their kernel waits to send them again. */
  readonly waiting: number
  readonly clients: readonly RawClient[]
  readonly refused: number
}

/** All of them connect while the gateway's event loop stands still. Resolves when each has connected, or failed. */
async function burstOn(gateway: Process): Promise<Burst> {
  gateway.child.kill('SIGUSR2')
  await gateway.says('held')
  let connected = 0
  let refused = 0
  const opening = Array.from({ length: BURST }, () =>
    openClient(gateway.port).then(
      client => {
        connected++
        return client
      },
      () => {
        refused++
        return undefined
      },
    ),
  )
  await gateway.says('released')
  const whileHeld = connected
  const waiting = await socketsIn('SYN_SENT', gateway.port, 'clients')
  const clients = (await Promise.all(opening)).filter(client => client !== undefined)
  return { whileHeld, waiting, clients, refused }
}

/** Every client that got in sends a request. @returns how many were answered 200, and each one's ms */
async function served(clients: readonly RawClient[]): Promise<{ answered: number; times: number[] }> {
  const times: number[] = []
  let answered = 0
  await Promise.all(
    clients.map(async client => {
      const response = await client.request().response.catch(() => undefined)
      client.leave('rst')
      if (response?.status !== 200) return
      answered++
      times.push(response.doneAt - response.sentAt)
    }),
  )
  return { answered, times }
}

async function upstreamFor(t: TestContext): Promise<Upstream> {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  return upstream
}

test(`naive: backlog ${NODE_BACKLOG}: of ${BURST} connections most are not let in while the event loop is held`, async t => {
  const upstream = await upstreamFor(t)
  const gateway = await startNaive(t, upstream.url, { holdable: true })
  const { whileHeld, waiting, clients, refused } = await burstOn(gateway)
  for (const client of clients) client.leave('rst')
  t.diagnostic(
    `net.core.somaxconn ${somaxconn}; ${whileHeld} let in, ${waiting} SYNs dropped and to be sent again, ${refused} refused`,
  )
  assert.ok(waiting + refused > 0, 'resets or retransmits')
})

test(`hopgate: backlog ${HOPGATE_BACKLOG}: all ${BURST} are let in while the event loop is held, and all are answered`, async t => {
  const upstream = await upstreamFor(t)
  const routes = ', limits: { in_flight: 4096 }, timeouts: { request: 30s, queue: 20s, response_headers: 20s }'
  const pool = ', pool: { max_connections: 64, queue: 4096 }'
  const gw = await startHopgate(t, forAll(upstream.url, pool, routes), { holdable: true })
  const { whileHeld, waiting, clients, refused } = await burstOn(gw)
  const { answered, times } = await served(clients)
  t.diagnostic(`net.core.somaxconn ${somaxconn}: room for ${room(HOPGATE_BACKLOG)} of ${HOPGATE_BACKLOG}`)
  t.diagnostic(
    `${whileHeld} let in, ${waiting} SYNs dropped, ${refused} refused; answered ${answered}: ${spread(times)}`,
  )
  assert.deepEqual({ waiting, refused, answered }, { waiting: 0, refused: 0, answered: BURST })
  assert.equal(await gw.metric('hopgate_requests_total', { outcome: 'completed' }), BURST)
})
