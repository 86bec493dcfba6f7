/** The corpus, each input whole and cut in two: the status, the close, and nothing at the upstream. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { simple, startTestGateway } from '../support/gateway.ts'
import { CORPUS } from './corpus.ts'
import { type Class, type Hostile, SOURCES } from './corpus-words.ts'
import { converse, statusesOf } from './wire.ts'

test('the corpus is as large as it is said to be, and no input is in it twice', () => {
  assert.ok(CORPUS.length >= 120, `${CORPUS.length} inputs`)
  assert.equal(new Set(CORPUS.map(({ bytes }) => bytes)).size, CORPUS.length - repeated().length, repeated().join('; '))
  for (const { of } of CORPUS) assert.ok(SOURCES[of])
})

/** Inputs that stand in two classes on purpose have the same bytes; there is one list of them, and it is empty. */
function repeated(): readonly string[] {
  const seen = new Map<string, Hostile>()
  return CORPUS.flatMap(one => {
    const before = seen.get(one.bytes)
    seen.set(one.bytes, one)
    return before === undefined ? [] : [`${before.of}: ${before.what} = ${one.of}: ${one.what}`]
  })
}

const IN_BODIES = new Set<Class>(['chunks', 'trailers', 'after'])

for (const split of [false, true]) {
  test(`nothing of the corpus reaches an upstream, ${split ? 'cut in two' : 'in one piece'}`, async t => {
    const upstream = await startUpstream(answer())
    t.after(() => upstream.close())
    const gateway = await startTestGateway(t, simple(upstream.url))
    for (const one of CORPUS) {
      await t.test(`${one.of}: ${one.what}: ${one.status}`, async () => {
        const before = { requests: upstream.requests.length, lines: gateway.lines.length }
        const { text, closed } = await converse(gateway.port, Buffer.from(one.bytes, 'latin1'), split)
        const statuses = statusesOf(text)
        assert.equal(statuses.length, 1, text.slice(0, 200))
        assert.equal(statuses[0], one.status)
        assert.ok(closed || one.status === 405, 'the connection was left open')
        // The beginning of a body that turns out to be bad later may be on its way: it is never completed.
        const seen = upstream.requests.slice(before.requests)
        const begun = one.of === 'extensions' || (split && IN_BODIES.has(one.of))
        if (!begun) assert.deepEqual(seen, [], 'a request reached the upstream')
        assert.ok(!seen.some(request => request.isUploadComplete), 'a complete request reached the upstream')
        assert.equal(gateway.lines.length, before.lines + 1, 'not exactly one access line')
        assert.doesNotMatch(text, /127\.0\.0\.1|localhost|ECONN/, 'an address in the answer')
      })
    }
    assert.equal(await gateway.metric('hopgate_inflight_requests'), 0)
  })
}
