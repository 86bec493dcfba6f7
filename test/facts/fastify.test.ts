import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, it, type TestContext, test } from 'node:test'
import { type FastifyInstance, fastify } from 'fastify'
import { changed, dialReading, portOf, until } from './support.ts'

async function start(t: TestContext, app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  return portOf(app.server)
}

test('fact 6: Fastify leaves the timeouts of a server alone that a serverFactory made', async t => {
  const timeouts = { headersTimeout: 150, connectionsCheckingInterval: 25, requestTimeout: 0, keepAliveTimeout: 0 }
  const app = fastify({ serverFactory: handler => createServer(timeouts, handler) })
  const port = await start(t, app)
  const { headersTimeout, requestTimeout, keepAliveTimeout, timeout } = app.server
  const why = changed('6', 'they are what the factory set', 'See createDoor in server/server.ts.')
  assert.deepEqual([headersTimeout, requestTimeout, keepAliveTimeout, timeout], [150, 0, 0, 0], why)
  const client = await dialReading(t, port)
  await until('the idle connection is closed long before 30 s', () => client.closed)
})

test('fact 8: from the first instant of close() Fastify answers 503 on every route', async t => {
  const app = fastify()
  let release = (): void => {}
  app.get('/', () => 'ok')
  app.addHook('preClose', done => {
    release = done
  })
  const port = await start(t, app)
  const closing = app.close()
  const client = await dialReading(t, port)
  client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('an answer', () => client.text !== '')
  assert.match(client.text, /^HTTP\/1.1 503 /, changed('8', 'close() turns into 503', 'A drain might simply close().'))
  client.socket.destroy()
  release()
  await closing
})

describe('fact 9: bodies', () => {
  const upload = (type: string | undefined, bytes: number, method = 'POST'): string => {
    const typeField = type === undefined ? '' : `Content-Type: ${type}\r\n`
    return `${method} / HTTP/1.1\r\nHost: a\r\n${typeField}Content-Length: ${bytes}\r\n\r\n"${'x'.repeat(bytes - 2)}"`
  }

  for (const type of ['application/json', 'text/plain']) {
    it(`Fastify's own parser of ${type} answers 413 above 1 MiB`, async t => {
      const app = fastify()
      app.post('/', () => 'ok')
      const client = await dialReading(t, await start(t, app))
      client.socket.write(upload(type, 1024 * 1024 + 1))
      await until('an answer', () => client.text !== '')
      assert.match(
        client.text,
        /^HTTP\/1.1 413 /,
        changed('9', 'own parsers limit bodies', 'They must not run anyhow.'),
      )
    })
  }

  it('a parser for "*" alone would not do: Fastify itself answers 415 to a Content-Type it cannot read', async t => {
    const app = fastify()
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    app.post('/', () => 'ok')
    const client = await dialReading(t, await start(t, app))
    client.socket.write(upload('broken', 10))
    await until('an answer', () => client.text !== '')
    const why = changed('9', 'bad types are refused before the handler', 'The onRequest hook is only one choice now.')
    assert.match(client.text, /^HTTP\/1.1 415 /, why)
  })

  for (const type of ['application/json', 'text/plain', 'no/such; a=b', 'broken', 'a/b, c/d', '', undefined]) {
    for (const method of ['POST', 'DELETE', 'GET'] as const) {
      it(`an exchange begun in the onRequest hook of ${method} has the raw stream, with Content-Type ${type}`, async t => {
        const app = fastify()
        let bytes = 0
        let handlerRan = false
        app.route({
          method,
          url: '/',
          onRequest: (request, reply) => {
            reply.hijack()
            request.raw.on('data', (chunk: Buffer) => {
              bytes += chunk.length
            })
            request.raw.on('end', () => reply.raw.end('all'))
          },
          handler: () => {
            handlerRan = true
          },
        })
        const client = await dialReading(t, await start(t, app))
        client.socket.write(upload(type, 1_500_000, method))
        await until('an answer', () => client.text !== '')
        const why = changed('9', 'hijack() in onRequest keeps parsers and handler out', 'See server/server.ts.')
        assert.match(client.text, /^HTTP\/1.1 200 /, why)
        assert.deepEqual([bytes, handlerRan], [1_500_000, false], why)
      })
    }
  }
})

test('fact 41: a path that does not percent-decode reaches no hook: only frameworkErrors can answer it', async t => {
  const seen: string[] = []
  const app = fastify({
    frameworkErrors: (error, _request, reply) => {
      seen.push(error.code)
      reply.hijack()
      reply.raw.end('ours')
    },
  })
  app.get('/*', {
    onRequest: (_request, _reply, done) => {
      seen.push('hook')
      done()
    },
    handler: () => 'ok',
  })
  const client = await dialReading(t, await start(t, app))
  client.socket.write('GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('an answer', () => client.text !== '')
  assert.deepEqual(seen, ['FST_ERR_BAD_URL'], changed('41', 'frameworkErrors gets it', 'See server/server.ts.'))
  assert.match(client.text, /ours/)
})

test('fact 41: a method that Fastify does not know matches no route until it is added', async t => {
  const app = fastify()
  app.addHttpMethod('PROPFIND', { hasBody: true })
  app.route({ method: app.supportedMethods, url: '/', handler: request => request.method })
  const port = await start(t, app)
  const statuses: string[] = []
  for (const method of ['PROPFIND', 'MKCOL']) {
    const client = await dialReading(t, port)
    client.socket.write(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`)
    await until('an answer', () => client.text !== '')
    statuses.push(client.text.slice(9, 12))
  }
  assert.deepEqual(
    statuses,
    ['200', '404'],
    changed('41', 'unknown methods are not found', 'See ROUTABLE in server/server.ts.'),
  )
})

test('fact 41: app.routing() finds a route for the same request again, from the handler of what was not found', async t => {
  const app = fastify()
  app.get('/host/only', () => 'unused')
  app.get('/any', (request, reply) => {
    reply.hijack()
    reply.raw.end(request.raw.url)
  })
  app.setNotFoundHandler((request, reply) => {
    reply.hijack()
    request.raw.url = '/any'
    app.routing(request.raw, reply.raw)
  })
  const client = await dialReading(t, await start(t, app))
  client.socket.write('GET /host/any HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('an answer', () => client.text !== '')
  assert.match(
    client.text,
    /\/any$/,
    changed('41', 'a request can be routed twice', 'See setNotFoundHandler in server/server.ts.'),
  )
})
