import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Outlet } from '../src/outlet.ts'

/** Two ends of one connection; the far one is not read until somebody does. */
async function pair(t: TestContext): Promise<{ near: Socket; far: Socket }> {
  const server = createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const near = connect((server.address() as { port: number }).port, '127.0.0.1')
  await once(near, 'connect')
  const [far] = (await accepted) as [Socket]
  t.after(() => {
    near.destroy()
    far.destroy()
    server.close()
  })
  return { near, far }
}

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
  })
  socket.resume()
  await once(socket, 'end')
  return text
}

const ticks = async (): Promise<void> => new Promise(resolve => setImmediate(resolve))

test('a small text is away when write returns, and flushed is called afterwards, once for each message', async t => {
  const { near, far } = await pair(t)
  let flushed = 0
  const out = new Outlet(near, () => flushed++)
  out.write('not the last, ', false)
  assert.equal(out.pending, 0)
  out.write('caf\xe9', true)
  assert.equal(out.pending, 0)
  assert.equal(flushed, 0, 'within the write')
  await ticks()
  assert.equal(flushed, 1)
  near.end()
  assert.equal(await readAll(far), 'not the last, caf\xe9')
})

test('what the kernel does not take is pending, and in order with what the socket is given behind it', async t => {
  const { near, far } = await pair(t)
  let flushed = 0
  const out = new Outlet(near, () => flushed++)
  const large = 'a'.repeat(16 * 1024 * 1024)
  out.write(large, true)
  assert.equal(out.pending, large.length)
  await ticks()
  assert.equal(flushed, 0)
  out.write('b', false)
  near.write('c')
  out.write('d', true)
  assert.ok(out.pending > large.length)
  near.end()
  assert.equal(await readAll(far), `${large}bcd`)
  assert.equal(flushed, 2)
  assert.equal(out.pending, 0)
})

test('corked text and text of the outlet keep their order', async t => {
  const { near, far } = await pair(t)
  const out = new Outlet(near, () => {})
  near.cork()
  near.write('first ')
  out.write('second', false)
  near.uncork()
  near.end()
  assert.equal(await readAll(far), 'first second')
})

test('a write that fails ends the socket with its error, and is not flushed', async t => {
  const { near, far } = await pair(t)
  let flushed = 0
  const out = new Outlet(near, () => flushed++)
  near.pause()
  const gone = once(near, 'error')
  far.resetAndDestroy()
  await once(far, 'close')
  // The reset takes no time on loopback; the first write tells of it.
  out.write('for nobody', true)
  const [error] = (await gone) as [NodeJS.ErrnoException]
  assert.match(String(error.code), /ECONNRESET|EPIPE/)
  assert.equal(flushed, 0)
  assert.equal(out.pending, 0)
  assert.equal(near.destroyed, true)
})

test('a write to a destroyed socket is not flushed', async t => {
  const { near } = await pair(t)
  let flushed = 0
  const out = new Outlet(near, () => flushed++)
  near.on('error', () => {})
  near.destroy()
  out.write('for nobody', true)
  await ticks()
  assert.equal(flushed, 0)
})

test('bytes that are pending when the socket is destroyed are not flushed', async t => {
  const { near } = await pair(t)
  let flushed = 0
  const out = new Outlet(near, () => flushed++)
  const large = 'a'.repeat(16 * 1024 * 1024)
  out.write(large, true)
  near.destroy()
  assert.equal(out.pending, large.length)
  await once(near, 'close')
  await ticks()
  assert.equal(flushed, 0)
})

test('of messages that leave together, one whose owner throws keeps none of the others waiting', async t => {
  const [first, second, third] = [await pair(t), await pair(t), await pair(t)]
  const told: string[] = []
  const outs = [
    new Outlet(first.near, () => told.push('first')),
    new Outlet(second.near, () => {
      throw new Error('of the second')
    }),
    new Outlet(third.near, () => told.push('third')),
  ]
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const caught = once(process, 'uncaughtException')
  try {
    for (const out of outs) out.write('x', true)
    assert.equal(((await caught)[0] as Error).message, 'of the second')
  } finally {
    for (const listener of listeners) process.on('uncaughtException', listener)
  }
  await ticks()
  assert.deepEqual(told, ['first', 'third'])
})
