/** The upstream that judges what the gateway sends: it shares no code with the gateway, and forgives nothing. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { framingOf, type MessageHead, MessageParser } from '../../../src/prove/message-parser.ts'
import { segments } from './messages.ts'

export interface Told {
  readonly bytes: Buffer
  readonly cuts: readonly number[]
  readonly close: boolean
}

export interface Judge {
  readonly port: number
  /** What was no well-formed request. */
  readonly faults: string[]
  /** Tags of the requests that were complete. */
  readonly complete: Set<string>
  /** What to say to the request with this tag, in place of a proper answer. */
  readonly told: Map<string, Told>
  close(): void
}

const HOP =
  /^(?:connection|keep-alive|proxy-connection|te|trailer|upgrade|expect|http2-settings|transfer[^a-z0-9]encoding|content[^a-z0-9]length)$/
const FIELD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** @returns what is wrong with a head; undefined: nothing */
export function wrongWith({ startLine, headers }: MessageHead): string | undefined {
  if (!/^[A-Z-]+ \/[!-"$-~]* HTTP\/1\.1$/.test(startLine)) return `request line ${JSON.stringify(startLine)}`
  const path = startLine.split(' ')[1]?.split('?')[0] ?? ''
  if (/\\|%(?:2f|5c|00)|\/\.\.?(?:\/|$)/i.test(path)) return `path ${path}`
  const counts = new Map<string, number>()
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (!FIELD.test(name) || !VALUE.test(value)) return `field ${JSON.stringify([name, value])}`
    counts.set(lower, (counts.get(lower) ?? 0) + 1)
    if (lower === 'content-length' && !/^(?:0|[1-9]\d*)$/.test(value)) return `Content-Length ${value}`
    if (lower === 'transfer-encoding' && value !== 'chunked') return `Transfer-Encoding ${value}`
    const ours = lower === 'content-length' || lower === 'transfer-encoding'
    if (!ours && HOP.test(lower)) return `hop-by-hop ${name}`
  }
  const of = (name: string): number => counts.get(name) ?? 0
  if (of('host') !== 1 || of('via') !== 1 || of('x-forwarded-for') !== 1 || of('x-request-id') !== 1)
    return 'own fields'
  if (of('content-length') + of('transfer-encoding') > 1) return 'framing'
  return undefined
}

export async function startJudge(): Promise<Judge> {
  const faults: string[] = []
  const complete = new Set<string>()
  const told = new Map<string, Told>()
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    let tag = ''
    let open = true
    socket.on('error', () => {})
    socket.on('close', () => {
      open = false
      sockets.delete(socket)
    })
    const parser = new MessageParser({
      head: head => {
        const wrong = wrongWith(head)
        if (wrong !== undefined) faults.push(wrong)
        tag = /\/([0-9a-f]{16})/.exec(head.startLine)?.[1] ?? 'none'
        return framingOf(head.headers, 'none')
      },
      body: () => {},
      end: trailers => {
        if (trailers.length > 0) faults.push('trailers')
        complete.add(tag)
        const answer = told.get(tag)
        if (answer === undefined) {
          const body = `tag ${tag}\n`
          socket.write(`HTTP/1.1 200 OK\r\nX-Tag: ${tag}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
        } else {
          void say(socket, answer, () => open)
        }
      },
    })
    socket.on('data', bytes => {
      try {
        parser.push(bytes)
      } catch (error) {
        faults.push(`${error}: ${JSON.stringify(bytes.toString('latin1').slice(0, 200))}`)
        socket.destroy()
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    faults,
    complete,
    told,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

async function say(socket: Socket, { bytes, cuts, close }: Told, isOpen: () => boolean): Promise<void> {
  for (const [i, piece] of segments(bytes, cuts).entries()) {
    if (i > 0) await delay(1)
    if (!isOpen()) return
    socket.write(piece)
  }
  if (close) socket.end()
}
