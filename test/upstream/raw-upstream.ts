/** An upstream without any HTTP of its own: what it is sent is kept as it came, what it says is the test's. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

const PATIENCE_MS = 20_000

/** One connection of the gateway. */
export class RawPeer {
  readonly socket: Socket
  /** All that came, latin1. */
  text = ''
  /** The gateway has closed it, or reset it. */
  closed = false
  readonly #changes = new EventEmitter()

  constructor(socket: Socket, keep: boolean) {
    this.socket = socket
    socket.on('error', () => {})
    if (keep) {
      socket.on('data', bytes => {
        this.text += bytes.toString('latin1')
        this.#changes.emit('change')
      })
    }
    socket.on('close', () => {
      this.closed = true
      this.#changes.emit('change')
    })
  }

  /** How many heads came. */
  get heads(): number {
    return this.text.split('\r\n\r\n').length - 1
  }

  async until(what: string, is: (peer: this) => boolean): Promise<void> {
    const { signal } = { signal: AbortSignal.timeout(PATIENCE_MS) }
    while (!is(this)) {
      await once(this.#changes, 'change', { signal }).catch(() =>
        assert.fail(`${what} was awaited; came: ${this.text}`),
      )
    }
  }
}

export interface RawUpstream {
  readonly url: string
  readonly port: number
  readonly peers: readonly RawPeer[]
  /** The connection that is accepted as the `n`th. */
  peer(n: number): Promise<RawPeer>
}

/** @param onPeer what it does with each; with `keep` false, all of its reading is the test's */
export async function startRawUpstream(
  t: TestContext,
  onPeer: (peer: RawPeer, n: number) => void,
  keep = true,
): Promise<RawUpstream> {
  const peers: RawPeer[] = []
  const arrivals = new EventEmitter()
  const server = createServer({ noDelay: true }, socket => {
    const peer = new RawPeer(socket, keep)
    onPeer(peer, peers.push(peer) - 1)
    arrivals.emit('peer')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const { socket } of peers) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const peer = async (n: number): Promise<RawPeer> => {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    while (peers.length <= n) {
      await once(arrivals, 'peer', { signal }).catch(() => assert.fail(`connection ${n} was awaited`))
    }
    return peers[n] as RawPeer
  }
  return { url: `http://127.0.0.1:${port}`, port, peers, peer }
}

/** Says `response` to every request without a body, and to every body that ends with a last chunk or in `.`. */
export function answering(response: string | ((n: number) => string)): (peer: RawPeer, n: number) => void {
  return (peer, n) => {
    let answered = 0
    peer.socket.on('data', () => {
      for (; answered < peer.heads; answered++)
        peer.socket.write(typeof response === 'string' ? response : response(n), 'latin1')
    })
  }
}
