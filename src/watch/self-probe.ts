/**
 * The gateway calls itself, as a client would: a connection through the kernel to the public listener, a request, a
 * record, the metrics. `/healthz` is the verdict of that call, and not a reply from beside the road: a full accept queue, a
 * listener that is gone, a loop that does not come round are what it finds.
 *
 * It ends at a route of the gateway itself. An upstream that fails is not the gateway's illness, and a gateway that is
 * ended for it would take the other upstreams with it.
 */
import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { SelfProbeConfig } from '../config/config.ts'
import { plainAddress } from '../exchange/peer.ts'
import { DURATION_BUCKETS, HistogramCell } from '../observe/cells.ts'
import type { ProbeCounts } from '../observe/watch-metrics.ts'
import { sever } from '../sever.ts'

/** Where the probe connects when the listener is on every address. */
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
/** A name that no route can have (RFC 6761 section 6.4). */
const HOST = 'selfprobe.invalid'
const ANSWER = 'HTTP/1.1 204 '
/** More than any answer of ours to it. */
const MOST_BYTES = 4096
/** Probes given up whose connections may still wait to be accepted. */
const MOST_LATE = 16

export interface SelfProbeParts {
  readonly config: SelfProbeConfig
  /** Where clients connect; undefined while nobody listens. */
  readonly listener: () => AddressInfo | undefined
  /** The verdict changed. */
  readonly changed: (up: boolean, why: string) => void
}

export class SelfProbe implements ProbeCounts {
  /** Known to this process alone: 128 random bits. A route like any, so that looking for it costs other requests nothing. */
  readonly path = `/_selfprobe/${randomBytes(16).toString('hex')}`
  readonly results = { ok: 0, failed: 0, refused_limit: 0 }
  readonly seconds = new HistogramCell(DURATION_BUCKETS, {})
  /** False after `fail_after` failures in a row, until a probe succeeds. */
  up = true
  /** Of the latest failure. */
  why = ''
  readonly #parts: SelfProbeParts
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #socket: Socket | undefined
  /** The ports of probes that were given up, and whose connections were not seen: they are no clients either. */
  readonly #late = new Set<number>()

  constructor(parts: SelfProbeParts) {
    this.#parts = parts
  }

  start(): void {
    this.#timer = setInterval(() => this.#probe(), this.#parts.config.intervalMs).unref()
  }

  /** The verdict stays as it is. */
  stop(): void {
    clearInterval(this.#timer)
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }

  /** Whether an accepted connection is the probe's: by its port, which nobody else has while the probe does. */
  owns(accepted: { readonly remotePort?: number | undefined; readonly remoteAddress?: string | undefined }): boolean {
    const { remotePort = 0, remoteAddress = '' } = accepted
    const probe = this.#socket
    // Asked before connect(2) was called, Node would remember that there is no port; nobody is accepted before.
    if (probe !== undefined && probe.localPort === remotePort) {
      return plainAddress(probe.localAddress ?? '') === plainAddress(remoteAddress)
    }
    return this.#late.size > 0 && this.#late.delete(remotePort)
  }

  /** The listener has turned the probe away, as it has to at `listen.max_connections`: it is full, and well. */
  refusedAtLimit(): void {
    if (this.#socket === undefined) return
    this.results.refused_limit++
    this.#end()
    this.#well()
  }

  #probe(): void {
    const at = this.#parts.listener()
    if (at === undefined || this.#socket !== undefined) return
    const began = performance.now()
    const socket = connect({ host: LOOPBACK[at.address] ?? at.address, port: at.port, noDelay: true })
    this.#socket = socket
    const mine = (): boolean => this.#socket === socket
    const failed = (why: string): void => {
      if (!mine()) return
      this.results.failed++
      this.#end()
      this.#ill(why)
    }
    const timeout = setTimeout(() => {
      // As with every timeout: after a stall of the process the answer may be here, and not read yet (stack fact 32).
      setImmediate(() => setImmediate(() => failed(`no answer within ${this.#parts.config.timeoutMs} ms`)))
    }, this.#parts.config.timeoutMs).unref()
    let answer = ''
    socket.on('connect', () => socket.write(`GET ${this.path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`))
    socket.on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1')
      if (!answer.includes('\r\n\r\n') && answer.length < MOST_BYTES) return
      if (!answer.startsWith(ANSWER)) {
        failed(`answered ${JSON.stringify(answer.slice(0, answer.indexOf('\r\n')).slice(0, 40))}`)
      } else if (mine()) {
        this.results.ok++
        this.seconds.observe((performance.now() - began) / 1000)
        this.#end()
        this.#well()
      }
    })
    socket.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message))
    socket.on('close', () => {
      clearTimeout(timeout)
      failed('closed without an answer')
    })
    socket.unref()
  }

  #end(): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#socket = undefined
    // A listener that comes round later will still accept it.
    if (this.#late.size < MOST_LATE && socket.bytesRead === 0 && socket.localPort) this.#late.add(socket.localPort)
    // By RST: a FIN would leave a TIME_WAIT behind, one for each probe.
    sever(socket)
  }

  #well(): void {
    this.#failures = 0
    if (this.up) return
    this.up = true
    this.#parts.changed(true, '')
  }

  #ill(why: string): void {
    this.why = why
    if (++this.#failures < this.#parts.config.failAfter || !this.up) return
    this.up = false
    this.#parts.changed(false, why)
  }
}
