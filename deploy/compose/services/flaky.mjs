/**
 * A backend that fails when told to: `curl -X PUT localhost:$CONTROL_PORT/stall`. Nothing but Node is needed.
 *   well     answers within 20 ms
 *   slow     answers 300 KB after one second
 *   stall    takes the request and never answers
 *   deaf     does not read what is uploaded
 */
import { createServer } from 'node:http'

const { NAME = 'flaky', HOST = '0.0.0.0', PORT = '3000', CONTROL_PORT = '3001' } = process.env
const MODES = ['well', 'slow', 'stall', 'deaf']
const LARGE = Buffer.alloc(300 * 1024, 'x')
let mode = 'well'
let finished = 0

function reply(res, body) {
  if (res.destroyed) return
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length })
  res.end(body, () => finished++)
}

const backend = createServer((req, res) => {
  res.on('error', () => {})
  req.on('error', () => {})
  if (mode === 'deaf') return
  req.resume()
  if (mode === 'stall') return
  const small = Buffer.from(JSON.stringify({ service: NAME, path: req.url }))
  const wait = setTimeout(() => reply(res, mode === 'slow' ? LARGE : small), mode === 'slow' ? 1000 : 5 + Math.random() * 15)
  res.on('close', () => clearTimeout(wait))
})
// Longer than hopgate's pool.keepalive (4s), so that it is the gateway that closes.
backend.keepAliveTimeout = 30_000
backend.listen(Number(PORT), HOST, 511)

const control = createServer((req, res) => {
  const wanted = req.url?.slice(1) ?? ''
  if (req.method === 'PUT' && MODES.includes(wanted)) {
    mode = wanted
    // Whoever was kept waiting is let go, so that the service is well at once.
    if (mode === 'well') backend.closeAllConnections()
    process.stdout.write(`${NAME}: ${mode}\n`)
  } else if (req.method !== 'GET') {
    res.statusCode = 404
  }
  res.end(`${JSON.stringify({ service: NAME, mode, finished })}\n`)
})
control.listen(Number(CONTROL_PORT), HOST)

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
