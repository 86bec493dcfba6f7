import http from 'node:http'
import httpProxy from 'http-proxy'
import { isSlow, listen, targets } from './two-targets.mjs'

const { fast, slow } = targets(port => ({
  target: `http://127.0.0.1:${port}`,
  agent: new http.Agent({ keepAlive: true, maxSockets: port === process.env.SLOW_PORT ? 6000 : 128, maxFreeSockets: 256 }),
}))
const proxy = httpProxy.createProxyServer({})
const failed = (_error, _req, res) => {
  if (!res.headersSent) res.writeHead(502)
  res.end()
}
listen(http.createServer((req, res) => proxy.web(req, res, isSlow(req.url) ? slow : fast, failed)))
