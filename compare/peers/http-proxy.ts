/** @fastify/http-proxy with every timeout that it, undici, Fastify and Node have an option for. */
import { readFileSync } from 'node:fs'
import proxy from '@fastify/http-proxy'
import Fastify from 'fastify'
import type { PeerProgram } from '../peers.ts'

const { listen, ca, routes } = JSON.parse(process.argv[2] ?? '{}') as PeerProgram

const app = Fastify({
  logger: false,
  bodyLimit: 64 * 1024 * 1024,
  keepAliveTimeout: 30_000,
  // An idle socket: a client that does not read, and an upload that has stopped; but a client who waits for its answer, too.
  // undici's timers tick every 500 ms, so with the 1 s that it should be, clients were cut off before their 504.
  connectionTimeout: 1600,
  // Polled, every 30 s by default.
  http: { headersTimeout: 1000, connectionsCheckingInterval: 50 },
})
for (const { name, url } of routes) {
  await app.register(proxy, {
    prefix: `/${name}`,
    rewritePrefix: '/',
    upstream: url,
    undici: {
      connections: 64,
      headersTimeout: 800,
      bodyTimeout: 800,
      maxHeaderSize: 64 * 1024,
      // Verification is off unless it is asked for.
      connect: { timeout: 500, ca: readFileSync(ca), rejectUnauthorized: true, servername: 'localhost' },
    },
    // A 503 is otherwise asked for again, ten times; with it goes the retry of a dead kept connection.
    retryMethods: [],
    replyOptions: {
      // Without it nearly every failure of the upstream is a 500 that tells the upstream's address.
      onError: (reply, { error }) => {
        const { statusCode } = error as Error & { statusCode?: number }
        void reply.code(statusCode === 504 ? 504 : 502).send({ error: 'upstream failed' })
      },
    },
  })
}
const [host, port] = listen.split(':')
await app.listen({ host: host ?? '', port: Number(port) })
