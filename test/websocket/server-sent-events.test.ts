/** Server-Sent Events and long polling through `streaming: true`, with a real EventSource. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { EventSource } from 'eventsource'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { openWire, until } from './support.ts'

interface Streams {
  readonly gw: TestGateway
  /** The requests of the backend and their responses, open or closed. */
  readonly asked: { readonly req: IncomingMessage; readonly res: ServerResponse }[]
  /** The next one. */
  next(): Promise<{ readonly req: IncomingMessage; readonly res: ServerResponse }>
}

async function begin(t: TestContext, timeouts: string): Promise<Streams> {
  const asked: Streams['asked'] = []
  const server = createServer((req, res) => asked.push({ req, res }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const gw = await startTestGateway(
    t,
    simple(url, `streaming: true, timeouts: { ${timeouts} }`, 'pool: { max_connections: 1 }'),
  )
  let handed = 0
  const next = async () => {
    const mine = handed++
    await until(`request ${mine} at the backend`, () => asked.length > mine)
    return asked[mine] as Streams['asked'][number]
  }
  return { gw, asked, next }
}

function beginEvents(res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  res.flushHeaders()
}

function listen(t: TestContext, url: string): { source: EventSource; events: MessageEvent[]; errors: unknown[] } {
  const source = new EventSource(url)
  t.after(() => source.close())
  const events: MessageEvent[] = []
  const errors: unknown[] = []
  source.onmessage = event => events.push(event)
  source.onerror = error => errors.push(error)
  return { source, events, errors }
}

describe('Server-Sent Events', () => {
  test('the head comes before any event, and each event when it is sent: nothing waits for company', async t => {
    const { gw, next } = await begin(t, 'body_idle: 60s')
    const { source, events } = listen(t, gw.url)
    const { res } = await next()
    beginEvents(res)
    await until('the open event', () => source.readyState === source.OPEN)
    assert.equal(events.length, 0)
    for (let i = 0; i < 20; i++) {
      res.write(`id: ${i}\ndata: event ${i}\n\n`)
      await until(`event ${i}`, () => events.length === i + 1)
      assert.equal(events[i]?.data, `event ${i}`)
    }
    // Two halves of one event in two writes: the first half is passed on, too.
    const wire = await openWire(t, gw.port)
    source.close()
    wire.send('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')
    const second = await next()
    beginEvents(second.res)
    second.res.write('data: ha')
    await wire.heard(/data: ha/)
    second.res.write('lf\n\n')
    await wire.heard(/lf\n\n/)
    wire.rst()
  })

  test('a client that leaves frees the upstream at once', async t => {
    const { gw, next } = await begin(t, 'body_idle: 60s')
    const { source, events } = listen(t, gw.url)
    const { res } = await next()
    beginEvents(res)
    res.write('data: one\n\n')
    await until('the event', () => events.length === 1)
    const closed = once(res, 'close')
    source.close()
    await closed
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status], ['client_abort', 'response_body', 200])
    // There is one slot only: the next stream has it.
    const again = listen(t, gw.url)
    beginEvents((await next()).res)
    await until('open again', () => again.source.readyState === again.source.OPEN)
  })

  test('body_idle ends a silent stream; the client sees an error, comes back, and says where it was', async t => {
    const { gw, next } = await begin(t, 'body_idle: 500ms')
    const { events, errors } = listen(t, gw.url)
    const { req, res } = await next()
    assert.equal(req.headers['last-event-id'], undefined)
    beginEvents(res)
    res.write('retry: 50\nid: 41\ndata: one\n\n')
    await until('the event', () => events.length === 1)
    const line = await gw.line()
    assert.deepEqual([line.outcome, line.stage, line.status], ['body_idle_timeout', 'response_body', 200])
    const second = await next()
    assert.equal(second.req.headers['last-event-id'], '41')
    assert.ok(errors.length >= 1)
    beginEvents(second.res)
    second.res.write('data: two\n\n')
    await until('the next event', () => events.length === 2)
  })

  test('a heartbeat keeps it open: comments, of which the application hears nothing', async t => {
    const { gw, next } = await begin(t, 'body_idle: 1s')
    const { source, events, errors } = listen(t, gw.url)
    const { res } = await next()
    beginEvents(res)
    const since = performance.now()
    const timer = setInterval(() => res.write(': heartbeat\n\n'), 100)
    await until('two and a half times body_idle', () => performance.now() - since > 2500)
    clearInterval(timer)
    assert.deepEqual([events.length, errors.length, gw.lines.length, source.readyState], [0, 0, 0, source.OPEN])
    res.write('data: still here\n\n')
    await until('the event', () => events.length === 1)
  })
})

describe('long polling', () => {
  test('an answer that is held back comes as soon as it is there, on a connection that is kept', async t => {
    const { gw, next } = await begin(t, 'response_headers: 60s')
    const wire = await openWire(t, gw.port)
    for (const word of ['first', 'second']) {
      wire.received = Buffer.alloc(0)
      wire.send('GET /poll HTTP/1.1\r\nHost: a.test\r\n\r\n')
      const { res } = await next()
      await until('it waits', async () => {
        const { body } = await gw.admin('/-/inflight')
        return (body as { stage: string }[])[0]?.stage === 'response_headers'
      })
      assert.equal(wire.text, '')
      res.end(word)
      await wire.heard(new RegExp(`^HTTP/1\\.1 200 .*${word}$`, 's'))
      assert.equal((await gw.line()).outcome, 'completed')
    }
    wire.rst()
  })

  test('a poller that leaves frees the upstream at once; one that is never answered is response_headers_timeout', async t => {
    const { gw, next } = await begin(t, 'response_headers: 500ms')
    const leaver = await openWire(t, gw.port)
    leaver.send('GET /poll HTTP/1.1\r\nHost: a.test\r\n\r\n')
    const left = await next()
    const closed = once(left.res, 'close')
    leaver.fin()
    await closed
    const gone = await gw.line()
    assert.deepEqual([gone.outcome, gone.stage], ['client_abort', 'response_headers'])
    const patient = await openWire(t, gw.port)
    patient.send('GET /poll HTTP/1.1\r\nHost: a.test\r\n\r\n')
    await next()
    await patient.heard(/^HTTP\/1\.1 504 /)
    assert.equal((await gw.line()).outcome, 'response_headers_timeout')
  })
})
