// Bare @fastify/http-proxy; with ACCESS_LOG, Fastify's own request log to that file. With ROUTES, so many registrations.
import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'

const { PORT, FAST_PORT, SLOW_PORT, ACCESS_LOG, ROUTES = '0' } = process.env
const app = Fastify({ logger: ACCESS_LOG ? { file: ACCESS_LOG } : false })
const register = (prefix, port, connections) =>
  app.register(httpProxy, {
    upstream: `http://127.0.0.1:${port}`,
    prefix,
    rewritePrefix: prefix,
    // Without these it would answer 504 to what is slow on purpose.
    undici: { connections, pipelining: 1, keepAliveTimeout: 60_000, headersTimeout: 60_000, bodyTimeout: 60_000 },
  })
for (const prefix of ['/sink', '/slow', '/hold']) register(prefix, SLOW_PORT, 6000)
if (ROUTES === '0') register('/', FAST_PORT, 128)
for (let i = 0; i < Number(ROUTES); i++) register(`/r/${i}`, FAST_PORT, 128)
await app.listen({ host: '127.0.0.1', port: Number(PORT), backlog: 4096 })
