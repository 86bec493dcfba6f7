/**
 * A `ws` WebSocket on a connection whose handshake is over. The package does so itself behind its server
 * (`completeUpgrade`), but offers no door to it for a client: ours has shaken hands through the upstream's slots, with
 * its timeouts and outcomes, which ws' own client cannot be given. test/facts holds the two members used here.
 */
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'

interface Adoptable {
  /** Which end: a client masks what it sends, and takes nothing masked (RFC 6455 section 5.1). */
  _isServer: boolean
  _bufferedAmount: number
  setSocket(socket: Socket, head: Buffer, options: object): void
}

type AdoptingConstructor = new (address: null, protocols: undefined, options: object) => WebSocket

/** How long a peer may take to answer a close frame and close its connection, ms. */
const CLOSE_TIMEOUT_MS = 5000
/** ws' own: so many pongs may wait for a peer that only pings, and so many parts may a message have. */
const MAX_PENDING_PONGS = 60
const MAX_FRAGMENTS = 16 * 1024
const MAX_CHUNKS = 256 * 1024

/**
 * Made first, and bound to its socket by `attach` when its listeners are there: what has come by then is handed over at once.
 * @param role the gateway's: `server` towards a client, `client` towards an upstream
 */
export function makeWebSocket(role: 'client' | 'server'): WebSocket {
  const Constructor = WebSocket as unknown as AdoptingConstructor
  const ws = new Constructor(null, undefined, {
    autoPong: true,
    maxPendingAutoPongs: MAX_PENDING_PONGS,
    closeTimeout: CLOSE_TIMEOUT_MS,
  })
  const inside = ws as unknown as Adoptable
  inside._isServer = role === 'server'
  inside._bufferedAmount = 0
  return ws
}

/** @param early what has been read behind the handshake */
export function attach(ws: WebSocket, socket: Socket, early: Buffer, maxMessageBytes: number): void {
  const inside = ws as unknown as Adoptable
  inside.setSocket(socket, early, {
    allowSynchronousEvents: true,
    maxPayload: maxMessageBytes,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_CHUNKS,
    skipUTF8Validation: false,
  })
  // `ws` expects a socket that nobody has paused.
  socket.resume()
}
