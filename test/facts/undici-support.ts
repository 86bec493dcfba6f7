import { connect as connectTcp, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { Client, type Dispatcher } from 'undici'

/** One request through undici's lower handler interface, and everything that it was told. */
export class Recorder implements Dispatcher.DispatchHandler {
  readonly events: string[] = []
  readonly heads: { status: number; text: string; headers: string[] }[] = []
  body = ''
  bytes = 0
  trailers: string[] | undefined
  error: Error | undefined
  completed = false
  abort: ((reason?: Error) => void) | undefined
  resume: (() => void) | undefined
  /** Called at the event of that name; from headers and data, false pauses the response. */
  readonly #at: Partial<Record<'connect' | 'headers' | 'data' | 'complete' | 'error', () => unknown>>

  constructor(at: Partial<Record<'connect' | 'headers' | 'data' | 'complete' | 'error', () => unknown>> = {}) {
    this.#at = at
  }

  get code(): string | undefined {
    return (this.error as NodeJS.ErrnoException | undefined)?.code
  }

  get over(): boolean {
    return this.completed || this.error !== undefined
  }

  /** The events, those that repeat once. */
  get story(): string {
    return this.events.filter((event, i) => event !== this.events[i - 1]).join(' ')
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.events.push('connect')
    this.abort = abort
    this.#at.connect?.()
  }

  onRequestSent(): void {
    this.events.push('sent')
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, text: string): boolean {
    this.events.push(String(status))
    this.heads.push({ status, text, headers: headers.map(String) })
    this.resume = resume
    return this.#at.headers?.() !== false
  }

  onData(chunk: Buffer): boolean {
    this.events.push('data')
    this.bytes += chunk.length
    if (this.bytes < 100_000) this.body += chunk.toString('latin1')
    return this.#at.data?.() !== false
  }

  onComplete(trailers: (string | Buffer)[] | null): void {
    this.events.push('complete')
    this.trailers = trailers?.map(String)
    this.completed = true
    this.#at.complete?.()
  }

  onError(error: Error): void {
    this.events.push('error')
    this.error ??= error
    this.#at.error?.()
  }
}

export interface OurClient {
  readonly client: Client
  /** The sockets that our connector handed over, in order. */
  readonly sockets: Socket[]
  /** How often undici called our connector. */
  dials: number
  send(options: Partial<Dispatcher.DispatchOptions>, recorder?: Recorder): Recorder
}

/** undici as hopgate uses it: one connection, our own connector, no timers of undici's. */
export function undiciTo(t: TestContext, port: number, options: Client.Options = {}): OurClient {
  const sockets: Socket[] = []
  const ours: OurClient = {
    client: new Client(`http://127.0.0.1:${port}`, {
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (_target, callback) => {
        ours.dials++
        const socket = connectTcp(port, '127.0.0.1')
        let handedOver = false
        socket.on('error', error => {
          if (!handedOver) callback(error, null)
        })
        socket.once('connect', () => {
          handedOver = true
          sockets.push(socket)
          callback(null, socket)
        })
      },
      ...options,
    }),
    sockets,
    dials: 0,
    send: (request, recorder = new Recorder()) => {
      ours.client.dispatch({ path: '/', method: 'GET', headers: ['Host', 'x'], ...request }, recorder)
      return recorder
    },
  }
  t.after(async () => {
    await ours.client.destroy()
    for (const socket of sockets) socket.destroy()
  })
  return ours
}

/** Answers each request (recognised by its first bytes) with `answer`, then does `then` with the connection. */
export function answering(answer: string, then?: (socket: Socket) => void): (socket: Socket) => void {
  return socket => {
    socket.on('data', () => {
      socket.write(answer, 'latin1')
      then?.(socket)
    })
  }
}

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
