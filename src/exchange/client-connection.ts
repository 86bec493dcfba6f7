/** One client connection: who is there, which exchange is on it, how long it may idle, and how it ended. */
import type { Socket } from 'node:net'
import type { Peer } from './peer.ts'

/** The exchange that a connection carries now, as far as the connection must know it. */
export interface ConnectionUser {
  /** The client has sent its FIN: it will not read on (nginx and Node treat a half-closed client so too). */
  clientEnded(): void
  /**
   * What the client sent is not HTTP.
   * @returns false where it came after the request of this exchange, which is none the worse for it
   */
  clientMalformed(error: Error): boolean
}

/** Requests that may wait behind the present one; a client that sends more does not wait for answers at all. */
const MAX_PIPELINED = 64

export class ClientConnection {
  readonly socket: Socket
  readonly peer: Peer
  user: ConnectionUser | undefined
  /** Requests whose head has arrived. */
  requests = 0
  /** A reply was written to the bare socket: at most one is. */
  answered = false
  /** The response that is under way is the last (`Connection: close`): nothing that comes after it is served. */
  closing = false
  /** Bytes that waited at the socket when it broke: nobody will ever read them. */
  lostBytes = 0
  readonly #keepaliveMs: number
  readonly #keepaliveFired: (overrunMs: number) => void
  #idleSince = 0
  /** What waits for the end of the present exchange: pipelined requests, or the answer to what is none. */
  readonly #later: (() => void)[] = []
  #idleTimer: NodeJS.Timeout | undefined
  /** `socket.bytesRead` at the end of the last exchange; -1: an exchange is on. */
  #readWhenIdle = -1

  constructor(socket: Socket, peer: Peer, keepaliveMs: number, keepaliveFired: (overrunMs: number) => void) {
    this.socket = socket
    this.peer = peer
    this.#keepaliveMs = keepaliveMs
    this.#keepaliveFired = keepaliveFired
    // The one moment at which Node still knows what was never delivered; at `close` every counter reads 0 (measured).
    socket.on('error', () => {
      this.lostBytes = socket.writableLength
    })
    socket.on('end', () => this.user?.clientEnded())
    socket.on('close', () => clearTimeout(this.#idleTimer))
  }

  /**
   * One exchange at a time: Node hands over pipelined requests as fast as it can read them, and their responses would
   * share one socket whose progress then says nothing about either. `begin` is called now, or when it is its turn.
   */
  inTurn(begin: () => void): void {
    if (this.user === undefined) begin()
    else if (this.#later.length < MAX_PIPELINED) this.#later.push(begin)
    else this.socket.destroy()
  }

  /** An exchange begins. */
  busy(user: ConnectionUser): void {
    this.user = user
    this.#readWhenIdle = -1
  }

  /**
   * The exchange is over: `listen.timeouts.keepalive` runs until the first byte of the next. Ours, because Node 20 adds
   * a second to its own. One timer for the connection's life, wound up again after each exchange.
   */
  idle(user: ConnectionUser | undefined): void {
    if (this.user !== user) return
    this.user = undefined
    if (this.socket.destroyed) return
    const next = this.#later.shift()
    if (next !== undefined) {
      if (!this.closing) next()
      return
    }
    this.#readWhenIdle = this.socket.bytesRead
    this.#idleSince = performance.now()
    if (this.#idleTimer === undefined) this.#idleTimer = setTimeout(closeIdle, this.#keepaliveMs + 1, this)
    else this.#idleTimer.refresh()
  }

  /** The keep-alive time is up, unless a request is on its way. */
  closeIfIdle(): void {
    if (this.#readWhenIdle !== this.socket.bytesRead) return
    this.#keepaliveFired(performance.now() - this.#idleSince - this.#keepaliveMs)
    this.socket.destroy()
  }

  /**
   * The client sent something that is not HTTP.
   * @param answer what to say to it, unless an exchange is on that says it itself
   * @returns false where nobody else will answer
   */
  malformed(error: Error, answer: () => void): boolean {
    if (this.user === undefined) return false
    // A FIN in the middle of a body is reported as this parse error before the socket says `end` (measured, Node 20).
    if ((error as NodeJS.ErrnoException).code === 'HPE_INVALID_EOF_STATE') this.user.clientEnded()
    else if (!this.user.clientMalformed(error)) this.#later.push(answer)
    return true
  }
}

function closeIdle(connection: ClientConnection): void {
  connection.closeIfIdle()
}

const CONNECTION = Symbol('hopgate.connection')
type Carrier = Socket & { [CONNECTION]?: ClientConnection }

/** Binds a connection to its socket for as long as the socket lives. */
export function bindConnection(socket: Socket, connection: ClientConnection): void {
  ;(socket as Carrier)[CONNECTION] = connection
}

export function connectionOf(socket: Socket): ClientConnection | undefined {
  return (socket as Carrier)[CONNECTION]
}
