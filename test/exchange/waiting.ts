/** Waiting for states that nobody announces: in the gateway's own pages, and in the kernel's socket table. */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { RawClient } from '../../src/prove/raw-client.ts'
import { readSocketTable } from '../../src/prove/socket-table.ts'
import type { TestGateway } from '../support/gateway.ts'

/** Asks again and again until `holds`; bounded. */
export async function eventually(what: string, holds: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const until = performance.now() + timeoutMs
  while (!(await holds())) {
    assert.ok(performance.now() < until, `not within ${timeoutMs} ms: ${what}`)
    // The gateway shares our event loop: asking without a pause would be all that it does.
    await delay(5)
  }
}

interface Inflight {
  readonly stage: string
  readonly path: string
}

/** Resolves when the exchange of `path` is in `stage`. */
export function reaches(gw: TestGateway, path: string, stage: string): Promise<void> {
  return eventually(`${path} in ${stage}`, () => isIn(gw, path, stage))
}

async function isIn(gw: TestGateway, path: string, stage: string): Promise<boolean> {
  const { body } = await gw.admin('/-/inflight')
  return (body as Inflight[]).some(exchange => exchange.path === path && exchange.stage === stage)
}

/** Resolves when a metric has this value. */
export function reads(
  gw: TestGateway,
  value: number,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  return eventually(
    `${name} ${JSON.stringify(labels)} = ${value}`,
    async () => (await gw.metric(name, labels)) === value,
  )
}

/** Resolves when a dial to `port` hangs in SYN_SENT, or when none does any more. */
export function dialling(port: number, expected: boolean): Promise<void> {
  return eventually(`${expected ? 'a' : 'no'} dial to ${port}`, async () => {
    const rows = await readSocketTable()
    return rows.some(row => row.remotePort === port && row.state === 'SYN_SENT') === expected
  })
}

/** Less than the window that is still open when the gateway stops to read. */
const SLICE = Buffer.alloc(32 * 1024, 'u')

/**
 * Sends bytes of the upload of `path` until the gateway is in `stage` with it and leaves some unread for good. All that was sent has arrived: a FIN behind a closed window would stay in our kernel, unknown to anybody.
 */
export async function sendUntilHeld(gw: TestGateway, client: RawClient, path: string, stage: string): Promise<void> {
  do await client.send(SLICE)
  while (!((await isIn(gw, path, stage)) && (await leavesUnread(client))))
}

/** True when some bytes, all that we sent among them, wait for the gateway for as long as ten looks into the table take. */
async function leavesUnread(client: RawClient): Promise<boolean> {
  let before = ''
  for (let looks = 0; looks < 10; ) {
    const rows = await readSocketTable()
    const ours = rows.find(row => row.localPort === client.localPort && row.remotePort === client.remotePort)
    const theirs = rows.find(row => row.localPort === client.remotePort && row.remotePort === client.localPort)
    // The kernel can skip a row between two of its reads.
    if (ours === undefined || theirs === undefined) continue
    if (ours.unsentBytes === 0 && theirs.unreadBytes === 0) return false
    const now = `${ours.unsentBytes} ${theirs.unreadBytes}`
    looks = now === before ? looks + 1 : 0
    before = now
  }
  assert.match(before, /^0 /, 'more was sent than the window takes')
  return true
}

/** The p-th percentile of `samples`, nearest rank, to the hundredth of a ms. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return Math.round((sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? 0) * 100) / 100
}

/** `n=12 p50=1.2 ms p99=3.4 ms max=3.4 ms` */
export function spread(samples: readonly number[]): string {
  const max = percentile(samples, 100)
  return `n=${samples.length} p50=${percentile(samples, 50)} ms p99=${percentile(samples, 99)} ms max=${max} ms`
}
