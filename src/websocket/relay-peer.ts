/** One peer of a relay: its WebSocket, whether it is alive, and what it takes. */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { bytesTaken } from '../exchange/flush-watch.ts'
import { attach, makeWebSocket } from './adopt.ts'
import type { Message } from './outbox.ts'

export interface PeerEvents {
  message(message: Message): void
  /** It has pinged; the pong is on its way. */
  pinged(): void
  ponged(data: Buffer): void
  /** What waited for it has become less. */
  taken(): void
  /** Its connection broke, it speaks no WebSocket (WS_ERR_...), or its message is too large; `closed` follows. */
  failed(error: Error): void
  /** `code`: of its close frame; 1005: it had none; 1006: there was no close frame. */
  closed(code: number, reason: string): void
}

/** RFC 6455 section 7.4.1: those that stand for something and are never sent. */
const NEVER_SENT = new Set([1005, 1006, 1015])

export class RelayPeer {
  readonly #ws: WebSocket
  readonly #socket: Socket
  /** We have stopped reading from it. */
  #paused = false
  /** `bytesRead` and `bytesTaken` of its socket at the last ping; -1: none is out. */
  #readAtPing = -1
  #takenAtPing = 0

  constructor(role: 'client' | 'server', socket: Socket, early: Buffer, maxMessageBytes: number, events: PeerEvents) {
    const ws = makeWebSocket(role)
    this.#ws = ws
    this.#socket = socket
    ws.on('message', (data: Buffer, isBinary: boolean) => events.message({ data, isBinary }))
    ws.on('ping', () => events.pinged())
    ws.on('pong', (data: Buffer) => events.ponged(data))
    ws.on('error', (error: Error) => events.failed(error))
    ws.on('close', (code: number, reason: Buffer) => events.closed(code, reason.toString()))
    // ws keeps this one to itself.
    socket.on('error', error => events.failed(error))
    socket.on('drain', () => events.taken())
    attach(ws, socket, early, maxMessageBytes)
  }

  get isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN
  }

  get isClosed(): boolean {
    return this.#ws.readyState === this.#ws.CLOSED
  }

  /** Bytes that wait for it. */
  get waiting(): number {
    return this.#ws.bufferedAmount
  }

  send({ data, isBinary }: Message, sent: () => void): void {
    this.#ws.send(data, { binary: isBinary }, sent)
  }

  ping(data?: string): void {
    if (this.isOpen) this.#ws.ping(data)
  }

  /** Pings, and says whether the peer has been silent since the last time; never of one that we do not read. */
  pingAndJudge(): 'alive' | 'dead' {
    if (!this.isOpen) return 'alive'
    // A slow reader cannot answer before it has read what comes before the ping: that it takes anything is its answer.
    const takes = this.waiting > 0 && this.#takenAtPing !== bytesTaken(this.#socket)
    const silent = this.#readAtPing === this.#socket.bytesRead && !takes
    if (silent && !this.#paused) return 'dead'
    this.#readAtPing = this.#socket.bytesRead
    this.ping()
    this.#takenAtPing = bytesTaken(this.#socket)
    return 'alive'
  }

  pause(): void {
    if (this.#paused || !this.isOpen) return
    this.#paused = true
    this.#ws.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#readAtPing = -1
    this.#ws.resume()
  }

  /** Says goodbye; a code that cannot be sent becomes the frame, or the break, that it stands for. */
  close(code: number, reason = ''): void {
    // A close frame is only seen by who is read.
    this.resume()
    if (code === 1005) this.#ws.close()
    else if (NEVER_SENT.has(code)) this.#ws.terminate()
    else this.#ws.close(code, reason)
  }

  /** Ends it without a word. */
  terminate(): void {
    this.#ws.terminate()
  }
}
