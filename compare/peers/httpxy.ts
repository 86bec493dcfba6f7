/** httpxy with every timeout that it and Node have an option for. It is resolved from bench/, whose dependency it is. */
import { readFileSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Agent as TlsAgent } from 'node:https'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { PeerProgram } from '../peers.ts'

interface Httpxy {
  createProxyServer(options: object): {
    web(req: IncomingMessage, res: ServerResponse, options: object): Promise<void>
  }
}

const { listen, ca, routes } = JSON.parse(process.argv[2] ?? '{}') as PeerProgram
const entry = createRequire(new URL('../../bench/package.json', import.meta.url)).resolve('httpxy')
const { createProxyServer } = (await import(pathToFileURL(entry).href)) as Httpxy

// proxyTimeout is the idle time of the upstream's socket, timeout that of the client's.
const proxy = createProxyServer({ proxyTimeout: 800, timeout: 1000, xfwd: true })
const targets = new Map(
  routes.map(({ name, url }) => {
    const keepAlive = { keepAlive: true, maxSockets: 64 }
    const tls = { ...keepAlive, ca: readFileSync(ca), servername: 'localhost' }
    const agent = url.startsWith('https:') ? new TlsAgent(tls) : new Agent(keepAlive)
    return [`/${name}` as string, { target: url, secure: true, agent }] as const
  }),
)

const server = createServer({ headersTimeout: 1000, connectionsCheckingInterval: 50, keepAliveTimeout: 30_000 })
server.on('request', (req, res) => {
  const options = targets.get(req.url ?? '')
  if (options === undefined) {
    res.writeHead(404).end()
    return
  }
  proxy.web(req, res, options).catch(() => {
    if (res.headersSent) res.destroy()
    else res.writeHead(502).end()
  })
})
const [host, port] = listen.split(':')
server.listen(Number(port), host)
