import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, it, test } from 'node:test'
import { changed, kernelState, listen, onlyLinux, pause, stall, turn, until } from './support.ts'
import { answering, OK, Recorder, undiciTo } from './undici-support.ts'

const UPSTREAM_SIDE = 'See exchange/upstream-side.ts.'
const CONNECTION = 'See upstream/connection.ts.'

const STAGES: readonly (readonly [string, string, boolean, Recorder['story']])[] = [
  ['before headers', '', false, 'connect sent error'],
  ['in mid-body', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello', false, 'connect sent 200 data error'],
  ['in a paused body', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npause', false, 'connect sent 200 data error'],
  ['in mid-upload', '', true, 'connect error'],
]
for (const [stage, answer, uploads, story] of STAGES) {
  for (const alsoAborts of [false, true]) {
    test(`facts 14 and 40: the socket reset ${stage}${alsoAborts ? ', then abort(reason)' : ''}: one onError, no new dial`, async t => {
      let requests = 0
      const upstream = await listen(t, socket => {
        socket.on('data', () => {
          if (requests++ === 0) socket.write(answer)
        })
      })
      const ours = undiciTo(t, upstream.port)
      const body = uploads ? new PassThrough() : null
      const got = ours.send(
        { method: uploads ? 'POST' : 'GET', body },
        new Recorder({ data: () => !answer.endsWith('pause') }),
      )
      body?.write('first')
      await until('the stage', () => requests > 0 && (answer === '' || got.bytes > 0))
      const reason = new Error('ours')
      ours.sockets[0]?.resetAndDestroy()
      if (alsoAborts) got.abort?.(reason)
      await until('the upstream hears of it', () => upstream.sockets.size === 0)
      assert.deepEqual(upstream.errors, ['ECONNRESET'], changed('14', 'the reset is seen as such', CONNECTION))
      body?.write('late')
      body?.destroy(new Error('late too'))
      body?.on('error', () => {})
      await pause(10)
      const why = changed('40', 'exactly one error, whatever the stage', UPSTREAM_SIDE)
      assert.equal(got.events.join(' '), story, why)
      if (alsoAborts) assert.equal(got.error, reason, why)
      else assert.equal(got.code, 'UND_ERR_SOCKET', why)
      assert.equal(ours.dials, 1, why)
    })
  }
}

test('fact 40: abort() alone makes undici dial once more for nobody: connections are reset by ourselves', async t => {
  const upstream = await listen(t, () => {})
  const ours = undiciTo(t, upstream.port)
  const got = ours.send({})
  await until('sent', () => got.events.includes('sent'))
  got.abort?.(new Error('ours'))
  await until('over', () => got.over)
  await until(
    changed('40', 'it dials again', 'Connection.kill may leave the socket to undici.'),
    () => ours.dials === 2,
  )
})

test('fact 14: abort() alone closes by FIN and leaves TIME_WAIT', onlyLinux, async t => {
  const upstream = await listen(t, socket => socket.resume())
  const ours = undiciTo(t, upstream.port)
  const got = ours.send({})
  await until('sent', () => got.events.includes('sent'))
  const localPort = ours.sockets[0]?.localPort ?? 0
  got.abort?.(new Error('ours'))
  await until('TIME_WAIT', () => kernelState(localPort, upstream.port) === 'TIME_WAIT')
})

const NOT_REUSED: readonly (readonly [string, string, string])[] = [
  ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'],
  ['Connection: close', 'GET', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'],
  ['HTTP/1.0', 'GET', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  [
    'a Keep-Alive hint below the threshold',
    'GET',
    'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok',
  ],
]
for (const [what, method, answer] of NOT_REUSED) {
  test(`facts 15 and 40: after ${what} the connection is closed, and known to be within the tick after onComplete`, async t => {
    const upstream = await listen(t, answering(answer))
    const ours = undiciTo(t, upstream.port, { keepAliveTimeoutThreshold: 1000 })
    let destroyed: boolean | undefined
    const look = (): void => {
      destroyed = ours.sockets[0]?.destroyed
    }
    const got = ours.send({ method: method as 'GET' }, new Recorder({ complete: () => process.nextTick(look) }))
    await until('the look', () => destroyed !== undefined)
    assert.ok(got.completed)
    assert.equal(
      destroyed,
      true,
      changed('15', 'it is not kept', 'Connection.release would offer a connection that ends.'),
    )
  })
}

test('fact 40: after an ordinary response the connection is kept, and serves the next one', async t => {
  const upstream = await listen(t, answering(OK))
  const ours = undiciTo(t, upstream.port)
  let second: Recorder | undefined
  const order: string[] = []
  ours.send(
    {},
    new Recorder({
      complete: () => {
        setImmediate(() => order.push('turn'))
        second = ours.send({ path: '/2' }, new Recorder({ connect: () => order.push('second written') }))
      },
    }),
  )
  await until('both', () => second?.over === true)
  assert.deepEqual([second?.completed, ours.dials, upstream.accepted], [true, 1, 1])
  const why = 'undici looks at an idle socket for one turn before it writes: dispatch inside onComplete needs no delay'
  assert.deepEqual(order, ['turn', 'second written'], changed('40', why, CONNECTION))
})

describe('fact 40: the connector', () => {
  it('an error given to its callback is the very error of the request, and the next request dials anew', async t => {
    const reason = new Error('no code')
    const ours = undiciTo(t, 1, { connect: (_target, callback) => callback(reason, null) })
    for (let i = 0; i < 2; i++) {
      const got = ours.send({})
      await until('over', () => got.over)
      assert.equal(got.events.join(' '), 'error')
      assert.equal(
        got.error,
        reason,
        changed('40', 'the reason is kept', 'Dial.cancel gives the reason of the exchange.'),
      )
    }
  })

  it('is called again without end for an error with a code of undici: such a code must never be given', async t => {
    let dials = 0
    const ours = undiciTo(t, 1, {
      connect: (_target, callback) => {
        const poison = Object.assign(new Error('poison'), { code: 'UND_ERR_SOCKET' })
        setImmediate(() => callback(++dials < 10 ? poison : new Error('enough'), null))
      },
    })
    const got = ours.send({})
    await until('over', () => got.over)
    assert.equal(dials, 10, changed('40', 'it retries for ever', 'The warning in dial.ts is void.'))
  })

  for (const [how, kill] of [
    ['a FIN', (peer: Socket) => peer.end()],
    ['unsolicited bytes', (peer: Socket) => peer.write('junk')],
  ] as const) {
    it(`is called again for a request whose idle connection turns out to have received ${how}`, async t => {
      const upstream = await listen(t, answering(OK))
      const ours = undiciTo(t, upstream.port)
      const first = ours.send({})
      await until('the first', () => first.completed)
      await turn()
      for (const peer of upstream.sockets) kill(peer)
      stall(10)
      const second = ours.send({})
      await until('the second', () => second.over)
      const why = changed('40', 'nothing was written, so undici dials again', 'Connection handles that second call.')
      assert.deepEqual([second.completed, ours.dials], [true, 2], why)
      assert.equal(second.events.filter(event => event === 'connect').length, 1, why)
    })
  }

  it('is not called again where that connection was reset: onError comes without onConnect', async t => {
    const upstream = await listen(t, answering(OK))
    const ours = undiciTo(t, upstream.port)
    const first = ours.send({})
    await until('the first', () => first.completed)
    await turn()
    for (const peer of upstream.sockets) peer.resetAndDestroy()
    stall(10)
    const second = ours.send({})
    await until('the second', () => second.over)
    const why = changed('40', 'the reset is an error of the request', 'It is a stale_connection, replayed once.')
    assert.deepEqual([second.story, second.code, ours.dials], ['error', 'ECONNRESET', 1], why)
  })
})
