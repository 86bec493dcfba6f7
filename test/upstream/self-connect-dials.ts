/** Dials a port again and again, with Node alone and with the gateway's dial, and prints what became of it. */
import { connect } from 'node:net'
import { dial } from '../../src/upstream/dial.ts'

const port = Number(process.argv[2])
const DIALS = 20

const bare = (): Promise<string> =>
  new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      resolve(socket.localPort === port ? 'connected with itself' : 'connected')
      socket.resetAndDestroy()
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
  })

const endpoint = {
  url: `http://127.0.0.1:${port}`,
  hostname: '127.0.0.1',
  port,
  tls: false,
  authority: `127.0.0.1:${port}`,
}
const onread = { buffer: new Uint8Array(1024), callback: () => true }
const ours = (): Promise<string> =>
  new Promise(resolve => {
    dial(endpoint, undefined, { dialStage: () => {} }, onread, (error, dialled) => {
      dialled?.raw.resetAndDestroy()
      resolve(error === null ? 'connected' : String((error as NodeJS.ErrnoException).code))
    })
  })

const seen = { bare: [] as string[], ours: [] as string[] }
for (let i = 0; i < DIALS; i++) {
  seen.bare.push(await bare())
  seen.ours.push(await ours())
}
process.stdout.write(JSON.stringify(seen))
