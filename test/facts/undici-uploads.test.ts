import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { changed, listen, pause, until } from './support.ts'
import { answering, OK, Recorder, undiciTo } from './undici-support.ts'

const UPSTREAM_SIDE = 'See exchange/upstream-side.ts.'
const CONNECTION = 'See upstream/connection.ts.'

describe('uploads', () => {
  it('fact 30: the head is not sent before the first byte of the body', async t => {
    const upstream = await listen(t, answering(OK))
    const ours = undiciTo(t, upstream.port)
    const body = new PassThrough()
    const got = ours.send({ method: 'POST', body })
    await until('connect', () => got.events.length > 0)
    await pause(50)
    const [peer] = upstream.sockets
    assert.equal(
      peer?.bytesRead,
      0,
      changed('30', 'undici waits', 'request_write and response_headers start earlier now.'),
    )
    body.end('x')
    await until('the end', () => got.completed)
  })

  it('fact 40: with a Content-Length of the caller the body is not chunked', async t => {
    let text = ''
    const upstream = await listen(t, socket => {
      socket.on('data', chunk => {
        text += chunk
        if (text.endsWith('12345')) socket.write(OK)
      })
    })
    const ours = undiciTo(t, upstream.port)
    const body = new PassThrough()
    const got = ours.send({ method: 'POST', body, headers: ['Host', 'x', 'Content-Length', '5'] })
    body.end('12345')
    await until('the end', () => got.over)
    assert.match(text, /content-length: 5\r\n\r\n12345$/i)
  })

  const EARLY = 'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n'
  const ANSWERS: readonly (readonly [string, (socket: Socket) => void])[] = [
    ['and keeps the connection', socket => socket.write(`${EARLY}\r\nno`)],
    ['and closes by FIN', socket => socket.end(`${EARLY}Connection: close\r\n\r\nno`)],
    [
      'and closes with the upload unread',
      socket => {
        socket.pause()
        socket.write(`${EARLY}Connection: close\r\n\r\nno`)
        setTimeout(() => socket.destroy(), 50)
      },
    ],
  ]
  for (const [how, answer] of ANSWERS) {
    it(`fact 40: the upstream answers early ${how}: the whole answer, no error, and undici closes the connection`, async t => {
      const upstream = await listen(t, socket => socket.once('data', () => answer(socket)), { allowHalfOpen: true })
      const ours = undiciTo(t, upstream.port)
      const body = new PassThrough()
      const seen: string[] = []
      for (const name of ['error', 'close']) body.on(name, () => seen.push(name))
      let destroyed: boolean | undefined
      const look = (): void => {
        destroyed = ours.sockets[0]?.destroyed
      }
      const got = ours.send({ method: 'POST', body }, new Recorder({ complete: () => process.nextTick(look) }))
      const flood = setInterval(() => {
        if (!body.destroyed && body.writableLength < 500_000) body.write(Buffer.alloc(100_000))
      }, 1)
      t.after(() => clearInterval(flood))
      await until('the end', () => got.over)
      await until('the body is destroyed', () => body.destroyed)
      clearInterval(flood)
      await pause(60)
      const why = changed('40', 'an early answer is whole', UPSTREAM_SIDE)
      assert.equal(got.story, 'connect 413 data complete', why)
      assert.equal(destroyed, true, changed('40', 'the connection is not kept', CONNECTION))
      assert.deepEqual(seen, ['close'], 'the upload is destroyed by undici, without an error')
      assert.equal(ours.dials, 1, why)
    })
  }
})
