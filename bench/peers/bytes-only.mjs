// What two reads and two writes a request cost in Node, whoever makes them: bytes are passed on as they come, by the ways that
// hopgate found to be the cheapest (test/facts). It knows no HTTP, and is right only where a read brings a whole message
// and nobody leaves: W1.
import { connect, createServer, Socket } from 'node:net'

const UPSTREAM = { port: Number(process.env.FAST_PORT), host: '127.0.0.1' }
const read = Buffer.allocUnsafeSlow(16 * 1024)
const idle = []
let due = []

function later(socket, text) {
  if (due.push(socket, text) === 2) setImmediate(flush)
}

function flush() {
  const batch = due
  due = []
  for (let i = 0; i < batch.length; i += 2) if (!batch[i].destroyed) batch[i]._write(batch[i + 1], 'latin1', () => {})
}

function onread(take) {
  return {
    buffer: read,
    callback: length => {
      take(read.latin1Slice(0, length))
      return true
    },
  }
}

class Upstream {
  client = undefined
  socket = connect({
    ...UPSTREAM,
    noDelay: true,
    onread: onread(text => {
      later(this.client, text)
      idle.push(this)
    }),
  })

  constructor() {
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      if (idle.includes(this)) idle.splice(idle.indexOf(this), 1)
    })
  }

  send(client, text) {
    this.client = client
    if (this.socket.connecting) this.socket.once('connect', () => later(this.socket, text))
    else later(this.socket, text)
  }
}

const server = createServer().listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 }, () => {
  server._handle.onconnection = (error, handle) => {
    if (error !== 0) return
    const socket = new Socket({ handle, onread: onread(text => (idle.pop() ?? new Upstream()).send(socket, text)) })
    socket.setNoDelay(true)
    socket.on('error', () => {})
  }
})
