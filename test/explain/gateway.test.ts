/** The lines of a running gateway, told: the ages and the timeouts that sentences lean on are in them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Facts, factsOfLine } from '../../src/explain/facts.ts'
import { sentence } from '../../src/explain/sentence.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { type AccessLine, simple, startTestGateway } from '../support/gateway.ts'

function factsOf(line: AccessLine): Facts {
  const facts = factsOfLine(JSON.stringify(line))
  assert.ok(facts !== null, JSON.stringify(line))
  return facts
}

test('a timeout that fired is named in the line', { timeout: 30_000 }, async t => {
  const upstream = await startUpstream({ on: 'headers', then: 'hang' })
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, simple(upstream.url, 'timeouts: { response_headers: 100ms }'))
  assert.equal((await requestOnce(gw.port)).status, 504)
  const facts = factsOf(await gw.line())
  assert.equal(facts.timeout, 'response_headers')
  const where = upstream.url.replace('http://', '')
  assert.match(
    sentence(facts, null),
    new RegExp(`^up \\(${where}\\) had the whole request and sent no headers within \\S+ m?s\\.$`),
  )
})

for (const how of ['cancel', 'finish'] as const) {
  test(`a client that leaves, with on_client_abort: ${how}: its age is when it left, not when all was over`, {
    timeout: 30_000,
  }, async t => {
    const upstream = await startUpstream({ on: 'headers', then: 'hang' })
    t.after(() => upstream.close())
    const route = `on_client_abort: ${how}, timeouts: { response_headers: 900ms }`
    const gw = await startTestGateway(t, simple(upstream.url, route))
    const client = await openClient(gw.port)
    client.request()
    while ((await gw.metric('hopgate_inflight_requests', { route: 'r' })) === 0);
    client.leave('rst')
    const facts = factsOf(await gw.line())
    assert.equal(facts.outcome, 'client_abort')
    const { clientAbortAge, times } = facts
    assert.ok(clientAbortAge >= 0 && clientAbortAge <= times.total, `${clientAbortAge} of ${times.total}`)
    if (how === 'finish') assert.ok(times.total >= 890, `${times.total}`)
    assert.match(sentence(facts, null), /^The client left \S+ m?s after its request\. /)
  })
}
