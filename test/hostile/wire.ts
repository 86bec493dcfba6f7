/** Raw bytes to a server, and whatever it says back. */
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export interface Conversation {
  /** latin1 */
  readonly text: string
  /** The server ended the connection. */
  readonly closed: boolean
}

/** How long a server that has answered may take to close, and how long one may say nothing, ms. */
const QUIET_MS = 150
const SILENT_MS = 1500

/** @param split send it in two pieces, in two segments */
export async function converse(port: number, bytes: Buffer, split = false): Promise<Conversation> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  let text = ''
  let closed = false
  let heard = performance.now()
  socket.on('data', data => {
    text += data.toString('latin1')
    heard = performance.now()
  })
  socket.on('error', () => {})
  const over = new Promise<void>(resolve => {
    const end = (): void => {
      closed = true
      resolve()
    }
    socket.on('end', end)
    socket.on('close', end)
  })
  if (split) {
    const half = bytes.length >> 1
    socket.write(bytes.subarray(0, half))
    await delay(2)
    socket.write(bytes.subarray(half))
  } else {
    socket.write(bytes)
  }
  while (!closed && performance.now() - heard < (text === '' ? SILENT_MS : QUIET_MS)) {
    await Promise.race([over, delay(20)])
  }
  socket.destroy()
  return { text, closed }
}

/** The statuses of all final answers in a stream of answers. */
export function statusesOf(text: string): readonly number[] {
  return [...text.matchAll(/HTTP\/1\.[01] ([2-9]\d\d)/g)].map(([, status]) => Number(status))
}
