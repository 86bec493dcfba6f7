/**
 * The gateway of the incidents: @fastify/http-proxy as its README shows it, with Fastify's default pino. Run as a process
 * of its own: `naive-gateway.ts '[{"prefix":"/","upstream":"http://127.0.0.1:1"}]' [sync] [connections]`; tells its port on stderr.
 */
import proxy from '@fastify/http-proxy'
import Fastify from 'fastify'
import { pino } from 'pino'

const routes = JSON.parse(process.argv[2] ?? '[]') as readonly { prefix: string; upstream: string }[]

// `sync`: no line is lost when the process crashes, which is why people choose it.
const isSync = process.argv[3] === 'sync'
const app = Fastify({ logger: isSync ? { stream: pino.destination({ sync: true }) } : true })
const connections = Number(process.argv[4] || 0)
const pool = connections > 0 ? { undici: { connections } } : {}
for (const { prefix, upstream } of routes) {
  // What its owner believed: a second for the upstream. At registration it is silently ignored (stack fact 21).
  const believed = { timeout: 1000 }
  await app.register(proxy, { prefix, rewritePrefix: prefix, upstream, ...believed, ...pool })
}
await app.listen({ host: '127.0.0.1', port: 0 })
const address = app.server.address()
process.stderr.write(`listening on ${typeof address === 'object' ? address?.port : address}\n`)

process.on('SIGTERM', async () => {
  await app.close()
  process.exit(0)
})
