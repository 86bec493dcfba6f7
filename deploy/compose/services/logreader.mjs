/**
 * Reads hopgate's log from a FIFO and prints it; `PUT /stop` on the control port stops reading, `PUT /read` goes on.
 * What a log shipper does when its own destination is full.
 */
import { execFileSync } from 'node:child_process'
import { createReadStream, existsSync } from 'node:fs'
import { createServer } from 'node:http'

const { FIFO = '/run/hopgate-log/log', HOST = '0.0.0.0', CONTROL_PORT = '3001' } = process.env

if (!existsSync(FIFO)) execFileSync('mkfifo', ['-m', '600', FIFO])

let reading = true
// Opened for reading and writing, so that it neither waits for a writer nor ends with one (fifo(7)).
const log = createReadStream(FIFO, { flags: 'r+' })
log.pipe(process.stdout)

createServer((req, res) => {
  if (req.method === 'PUT' && req.url === '/stop') {
    reading = false
    log.unpipe(process.stdout)
    log.pause()
  } else if (req.method === 'PUT' && req.url === '/read') {
    reading = true
    log.pipe(process.stdout)
  } else if (req.method !== 'GET') {
    res.statusCode = 404
  }
  res.end(`${JSON.stringify({ reading })}\n`)
}).listen(Number(CONTROL_PORT), HOST)

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
