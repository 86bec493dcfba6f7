import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { AWAIT_MS, within } from './awaiting.ts'
import type { PortOnly } from './refusal.ts'
import { readSocketTable } from './socket-table.ts'

/** Listens with the smallest backlog, tells its port, and never again turns its event loop: nothing is accepted. */
const LISTENER = `
const { parentPort, workerData } = require('node:worker_threads')
const server = require('node:net').createServer()
server.listen({ port: workerData, host: '127.0.0.1', backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})
`

/** The accept queue takes one connection more than the backlog (`sk_acceptq_is_full` compares with >). */
const QUEUE_CAPACITY = 2

/**
 * A port that swallows SYNs without root: its accept queue is full and nobody accepts, so the kernel drops every further
 * SYN and a dial hangs in SYN_SENT (tcp_conn_request in net/ipv4/tcp_input.c). The listener is a worker thread that
 * blocks: as good as a stopped child process, there in 30 ms, and gone with the process whatever kills it.
 */
export async function startBlackHole(port = 0): Promise<PortOnly> {
  // Without the parent's execArgv: a loader such as tsx would cost the worker 200 ms.
  const worker = new Worker(LISTENER, { eval: true, execArgv: [], workerData: port })
  const opened = await within(
    new Promise<number>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    }),
    AWAIT_MS,
    'port of the black hole',
  )
  worker.unref()
  const fillers: Socket[] = []
  for (let filled = 0; filled < QUEUE_CAPACITY; filled++) fillers.push(await fill(opened))
  const queued = (await readSocketTable()).find(row => row.localPort === opened && row.state === 'LISTEN')?.unreadBytes
  const close = async (): Promise<void> => {
    for (const filler of fillers) filler.destroy()
    await worker.terminate()
  }
  if (queued !== undefined && queued < QUEUE_CAPACITY) {
    await close()
    throw new Error(`the black hole accepts: ${queued} of ${QUEUE_CAPACITY} connections wait`)
  }
  return { port: opened, close }
}

let shared: Promise<PortOnly> | undefined

/** One black hole for all tests of a process: never closed, and keeps no process alive. */
export function sharedBlackHole(): Promise<PortOnly> {
  shared ??= startBlackHole()
  return shared
}

function fill(port: number): Promise<Socket> {
  const dialled = new Promise<Socket>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.on('error', () => {})
      socket.unref()
      resolve(socket)
    })
    socket.once('error', reject)
  })
  return within(dialled, AWAIT_MS, 'connection that fills the black hole')
}
