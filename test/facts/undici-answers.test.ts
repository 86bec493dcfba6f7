import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { changed, handleOf, listen, until } from './support.ts'
import { answering, OK, Recorder, undiciTo } from './undici-support.ts'

const UPSTREAM_SIDE = 'See exchange/upstream-side.ts.'
const CONNECTION = 'See upstream/connection.ts.'

/** The end of a request to an upstream that says `answer` and then does `then`, and how its socket ended. */
async function ending(t: TestContext, answer: string, then?: (socket: Socket) => void, method: 'GET' | 'HEAD' = 'GET') {
  const upstream = await listen(t, answering(answer, then))
  const ours = undiciTo(t, upstream.port)
  let reset = false
  ours.client.on('connect', () => {
    const socket = ours.sockets[0]
    assert.ok(socket)
    socket.prependListener('error', () => {
      reset = true
    })
    socket.prependListener('end', () => {
      reset = handleOf(socket)?.getpeername({}) !== 0
    })
  })
  let resetAtEnd = false
  const look = (): void => {
    resetAtEnd = reset
  }
  const got = ours.send({ method }, new Recorder({ complete: look, error: look }))
  await until('the end', () => got.over)
  return { got, resetAtEnd }
}

for (const together of [true, false]) {
  test(`fact 28: a close-delimited body cut by a RST ${together ? 'with' : 'after'} its bytes is "complete", but the socket told us before`, async t => {
    const { got, resetAtEnd } = await ending(t, 'HTTP/1.1 200 OK\r\n\r\nhello', socket => {
      if (together) socket.resetAndDestroy()
      else setTimeout(() => socket.resetAndDestroy(), 20)
    })
    assert.equal(got.completed, true, changed('28', 'undici calls it complete', 'Connection.broke may be needless.'))
    assert.equal(resetAtEnd, true, changed('28', 'error or end come before onComplete', CONNECTION))
  })
}

test('fact 28: a close-delimited body ended by a FIN is complete, and no reset is seen', async t => {
  const { got, resetAtEnd } = await ending(t, 'HTTP/1.1 200 OK\r\n\r\nhello', socket => socket.end())
  assert.deepEqual([got.completed, got.body, resetAtEnd], [true, 'hello', false])
})

for (const status of [204, 304]) {
  test(`fact 29: a ${status} with a Content-Length fails after its head, with no data between`, async t => {
    const { got } = await ending(t, `HTTP/1.1 ${status} X\r\nContent-Length: 5\r\n\r\n`)
    assert.equal(
      got.story,
      `connect sent ${status} error`,
      changed('29', 'undici calls it a mismatch', 'Bodyless answers need no longer end at their head.'),
    )
  })
}

test('fact 29: an answer to HEAD with a Content-Length is complete', async t => {
  const { got } = await ending(t, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', undefined, 'HEAD')
  assert.equal(got.story, 'connect sent 200 complete')
})

test('fact 29: any number of 102 and 103 is told before the final head', async t => {
  const { got } = await ending(t, `HTTP/1.1 102 P\r\n\r\n${'HTTP/1.1 103 E\r\nLink: a\r\n\r\n'.repeat(50)}${OK}`)
  assert.equal(got.story, 'connect sent 102 103 200 data complete')
  assert.equal(got.heads.length, 52, changed('29', 'each is told', 'See upstreamInterim.'))
})

const PROTOCOL_ERRORS: readonly (readonly [string, string, string | undefined])[] = [
  ['an unsolicited 100', `HTTP/1.1 100 Continue\r\n\r\n${OK}`, 'UND_ERR_SOCKET'],
  ['an unexpected 101', 'HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n', 'UND_ERR_SOCKET'],
  [
    'two equal Content-Lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok',
    'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  ],
  [
    'both framings',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    undefined,
  ],
  ['garbage', 'garbage\r\n\r\n', undefined],
  ['a head that is too large', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, 'UND_ERR_HEADERS_OVERFLOW'],
]
for (const [what, answer, code] of PROTOCOL_ERRORS) {
  test(`facts 29 and 40: ${what} is one onError, code ${code}`, async t => {
    const { got } = await ending(t, answer)
    const why = changed('29', 'classify reads code and name', 'See exchange/failure.ts.')
    assert.equal(got.events.filter(event => event === 'error').length, 1, why)
    assert.equal(got.code, code, why)
    if (code === undefined) assert.equal(got.error?.name, 'HTTPParserError', why)
  })
}

const CLOSING = 'HTTP/1.1 200 OK\r\nConnection: close\r\n'
const TRUNCATED: readonly (readonly [string, string, string | undefined])[] = [
  ['short of its Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello', 'UND_ERR_SOCKET'],
  [
    'short of it after Connection: close',
    `${CLOSING}Content-Length: 10\r\n\r\nhello`,
    'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  ],
  ['without its last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'UND_ERR_SOCKET'],
  ['without it after Connection: close', `${CLOSING}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`, undefined],
]
for (const [what, answer, code] of TRUNCATED) {
  test(`fact 40: a body ended ${what} is never complete: onError, code ${code}`, async t => {
    const { got } = await ending(t, answer, socket => socket.end())
    assert.equal(got.story, 'connect sent 200 data error', changed('40', 'truncation is an error', UPSTREAM_SIDE))
    assert.equal(got.code, code, changed('40', 'classify reads it', 'See exchange/failure.ts.'))
  })
}

for (const [what, coding] of [
  ['a Transfer-Encoding nobody knows', 'Transfer-Encoding: foo\r\n\r\nhello'],
  [
    'Transfer-Encoding given twice',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ],
] as const) {
  test(`fact 30: ${what} is a 200 like any other: the raw list must be checked`, async t => {
    const { got } = await ending(t, `HTTP/1.1 200 OK\r\n${coding}`, socket => socket.end())
    assert.equal(
      got.story,
      'connect sent 200 data complete',
      changed('30', 'undici relays it', 'The check in response-head.ts may be dead code: look before removing it.'),
    )
  })
}
