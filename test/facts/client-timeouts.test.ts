import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import { changed, dialReading, onlyNode20, pause, type RawClient, serve, until } from './support.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

describe('timeouts of the client hop', { concurrency: true }, () => {
  const LIMIT_MS = 300
  const server = (t: TestContext, opts: { connectionsCheckingInterval: number; keepAliveTimeout?: number }) => {
    const codes: string[] = []
    const http = createServer(
      { headersTimeout: LIMIT_MS, requestTimeout: 0, keepAliveTimeout: 0, ...opts },
      (req, res) => {
        req.resume()
        req.on('end', () => res.end('ok'))
      },
    )
    http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      codes.push(error.code ?? error.message)
      socket.destroy()
    })
    return serve(t, http).then(port => ({ port, codes, http }))
  }
  const STARTS: readonly (readonly [string, (client: RawClient) => Promise<void>])[] = [
    ['a connection that sends nothing', async () => {}],
    [
      'half a head, from its first byte',
      async client => {
        await pause(150)
        client.socket.write('GET / HTTP/1.1\r\nHo')
      },
    ],
    [
      'half a head on a kept-alive connection, from its first byte',
      async client => {
        client.socket.write(GET)
        await until('the first answer', () => client.text.endsWith('ok'))
        await pause(2 * LIMIT_MS)
        assert.equal(
          client.closed,
          false,
          changed('39', 'it does not run while idle', 'See listen.timeouts.keepalive.'),
        )
        client.socket.write('GET / HTTP/1.1\r\nHo')
      },
    ],
  ]
  for (const [what, start] of STARTS) {
    it(`facts 6 and 39: with a short connectionsCheckingInterval headersTimeout is exact for ${what}`, async t => {
      const { port, codes } = await server(t, { connectionsCheckingInterval: 25 })
      const client = await dialReading(t, port)
      await start(client)
      const from = performance.now()
      await until('close', () => client.closed)
      const took = performance.now() - from
      const why = changed('39', 'it fires within a check interval', 'listen.timeouts.headers needs a timer of our own.')
      assert.ok(took > LIMIT_MS - 20 && took < LIMIT_MS + 700, `${why} It took ${took.toFixed()} ms.`)
      assert.equal(
        codes[0],
        'ERR_HTTP_REQUEST_TIMEOUT',
        changed('39', 'that code', 'server/parse-error.ts answers 408 by it.'),
      )
    })
  }
  it('fact 6: headersTimeout is polled: with a long connectionsCheckingInterval it does not fire', async t => {
    const { port } = await server(t, { connectionsCheckingInterval: 30_000 })
    const client = await dialReading(t, port)
    await pause(3 * LIMIT_MS)
    assert.equal(
      client.closed,
      false,
      changed('6', 'it is polled', 'connectionsCheckingInterval need not be set any more.'),
    )
  })
  it('fact 39: a slow body is no business of headersTimeout', async t => {
    const { port } = await server(t, { connectionsCheckingInterval: 25 })
    const client = await dialReading(t, port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na')
    await pause(2 * LIMIT_MS)
    client.socket.write('b')
    await until('the answer', () => client.text.endsWith('ok'))
  })
  it('fact 39: keepAliveTimeout closes a second late on Node 20', onlyNode20, async t => {
    const { port } = await server(t, { connectionsCheckingInterval: 25, keepAliveTimeout: 100 })
    const client = await dialReading(t, port)
    client.socket.write(GET)
    await until('the answer', () => client.text.endsWith('ok'))
    const from = performance.now()
    await until('close', () => client.closed)
    assert.ok(
      performance.now() - from > 900,
      changed('39', 'a second is added', 'ClientConnection.idle need not have a timer of its own on this Node.'),
    )
  })
})
