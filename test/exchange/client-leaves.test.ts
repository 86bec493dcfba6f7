/** {the client leaves by FIN, by RST} x {every stage} x {GET, POST}: one outcome, at once, and everything is given back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AccessLine } from '../support/gateway.ts'
import { type Method, PATH, type Scene, SITUATIONS, type Situation } from './client-situations.ts'
import { reads, spread } from './waiting.ts'

/** From the leaving of a client that is read from to the close of the upstream's socket. */
const SEEN_MS = 250
/** The same where only the kernel's socket table shows that it left. */
const TABLE_MS = 2500

const seenDelays: number[] = []
const tableDelays: number[] = []

for (const situation of SITUATIONS) {
  for (const method of situation.methods) {
    for (const how of ['fin', 'rst'] as const) {
      const title = `${method}: a client that leaves by ${how} ${situation.when}`
      test(`${title}: client_abort in ${situation.stage}, and the upstream is reset`, async t => {
        const scene = await situation.bring(t, method)
        const byTable = situation.unread === true && method === 'POST'
        const over = scene.gw.line().then(line => ({ line, at: performance.now() }))
        const left = performance.now()
        scene.client.leave(how)
        // Where the upstream has no socket to be reset yet, the end of the exchange is what can be seen.
        const end = await scene.connection?.closed
        if (end !== undefined) assert.equal(end.how, 'rst')
        const noticed = end?.at ?? (await over).at
        const delay = noticed - left
        assert.ok(delay < (byTable ? TABLE_MS : SEEN_MS), `it took ${delay} ms`)
        ;(byTable ? tableDelays : seenDelays).push(delay)
        checkLine((await over).line, situation, method)
        assert.equal(scene.gw.lines.length, 1)
        await checkCounters(scene, situation, method)
        await scene.recovered()
        await reads(scene.gw, 0, 'hopgate_pool_connections', { state: 'active' })
        await reads(scene.gw, 0, 'hopgate_pool_connections', { state: 'connecting' })
      })
    }
  }
}

test('from the leaving of a client to the close of its upstream socket: the time it took', t => {
  t.diagnostic(`abort to close: ${spread(seenDelays)}; seen in the socket table: ${spread(tableDelays)}`)
})

function checkLine(line: AccessLine, situation: Situation, method: Method): void {
  assert.deepEqual(
    [line.outcome, line.stage, line.status, line.party, line['level'], line.path, line['method'], line['error']],
    ['client_abort', situation.stage, situation.status, 'client', 'info', PATH, method, undefined],
  )
  const lost = line['aborted_write_bytes'] as number
  if (situation.abortsWrites) assert.ok(lost > 0, 'the bytes that waited for the client are counted')
  else assert.equal(lost, 0)
  const reached = ['t_queue', 't_connect', 't_request_write', 't_response_headers', 't_response_body'].filter(
    name => line[name] !== undefined,
  )
  const stages = { queue: 1, connect: 2, tls: 2, request_body: 3, request_write: 3, response_headers: 4 } as const
  const expected = stages[situation.stage as keyof typeof stages] ?? 5
  assert.equal(reached.length, expected, `stages told: ${reached}`)
}

async function checkCounters({ gw }: Scene, situation: Situation, method: Method): Promise<void> {
  const { stage, status } = situation
  const labels = { route: 'r', method, code: String(status), outcome: 'client_abort' }
  assert.equal(await gw.metric('hopgate_requests_total', labels), 1)
  const failure = { route: 'r', upstream: 'up', outcome: 'client_abort', stage, party: 'client' }
  assert.equal(await gw.metric('hopgate_failures_total', failure), 1)
  assert.equal(await gw.metric('hopgate_client_abort_age_seconds_count', { route: 'r' }), 1)
  await reads(gw, situation.cancels, 'hopgate_upstream_cancel_seconds_count', { route: 'r' })
  const bytes = gw.lines[0]?.['aborted_write_bytes']
  assert.equal(await gw.metric('hopgate_aborted_write_bytes_total', { route: 'r' }), bytes)
  assert.equal((await gw.metric('hopgate_aborted_writes_total', { route: 'r' })) > 0, situation.abortsWrites === true)
}
