// In its undici mode, which is its fastest.
import http from 'node:http'
import fastProxy from 'fast-proxy'
import { isSlow, listen, targets } from './two-targets.mjs'

const { fast, slow } = targets(port =>
  fastProxy({
    base: `http://127.0.0.1:${port}`,
    undici: { connections: port === process.env.SLOW_PORT ? 6000 : 128, pipelining: 1, keepAliveTimeout: 60_000 },
  }),
)
listen(http.createServer((req, res) => (isSlow(req.url) ? slow : fast).proxy(req, res, req.url, {})))
