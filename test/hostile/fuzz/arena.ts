/** A gateway between attackers and a judge, and what must hold whatever they do. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { parseConfig } from '../../../src/config/load.ts'
import { startGateway } from '../../../src/gateway.ts'
import { framingOf, headerOf, MessageParser } from '../../../src/prove/message-parser.ts'
import { sumOf } from '../../support/gateway.ts'
import { startJudge } from './judge.ts'
import { type Answer, type Attack, bytesOf, segments } from './messages.ts'

export interface Arena {
  /** Attackers at the clients' side, all at once, among clients that behave. */
  clients(attacks: readonly Attack[]): Promise<void>
  /** Answers of an upstream gone wrong, among answers that are well. */
  upstream(answers: readonly Answer[]): Promise<void>
  readonly exchanges: number
  readonly messages: number
  close(): Promise<void>
}

const BYSTANDERS = 2
const QUIET_MS = 30
const PATIENCE_MS = 400

export async function openArena(): Promise<Arena> {
  const judge = await startJudge()
  const parsed = parseConfig(
    `listen:
  address: 127.0.0.1:0
  timeouts: { headers: 3s, body_idle: 3s, write_idle: 3s, keepalive: 3s }
admin: { address: "127.0.0.1:0" }
upstreams:
  up: { endpoints: ["http://127.0.0.1:${judge.port}"], pool: { max_connections: 8 } }
routes:
  - { name: r, match: { path_prefix: / }, upstream: up, timeouts: { request: 5s, response_headers: 2s, body_idle: 2s } }
`,
    { env: {}, baseDir: '/' },
  )
  assert.ok(parsed.ok)
  const ids = new Set<string>()
  const wrong: string[] = []
  let exchanges = 0
  let messages = 0
  const gateway = await startGateway({
    config: parsed.config,
    version: 'fuzz',
    sink: {
      write: () => {},
      writeAccess: line => {
        exchanges++
        const { request_id, outcome, stage } = JSON.parse(String(line)) as Record<string, string>
        if (request_id === undefined || ids.has(request_id)) wrong.push(`two outcomes for ${request_id}`)
        ids.add(request_id ?? '')
        if (outcome === 'internal_error') wrong.push(`internal_error in ${stage}: ${line}`)
      },
      written: { access: 0, event: 0 },
      dropped: { access: 0, event: 0 },
      up: true,
      bufferedBytes: 0,
    },
  })
  const { port } = gateway.address
  /** Tag -> the number of the connection that it was given to. */
  const owners = new Map<string, number>()
  /** Connections whose answer goes on, in a later segment, behind its end: whoever is told the rest, nobody can tell it. */
  const outOfTurn = new Set<number>()
  let connections = 0

  const tagFor = (connection: number): string => {
    const tag = randomBytes(8).toString('hex')
    owners.set(tag, connection)
    return tag
  }

  /** @returns everything the gateway said */
  const converse = async (
    pieces: readonly Buffer[],
    leave: Attack['leave'],
    connection: number,
    patient = false,
  ): Promise<string> => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    let text = ''
    let over = false
    let heard = performance.now()
    socket.on('data', data => {
      text += data.toString('latin1')
      heard = performance.now()
    })
    socket.on('error', () => {})
    const ended = new Promise<void>(resolve => {
      const end = (): void => {
        over = true
        resolve()
      }
      socket.on('end', end)
      socket.on('close', end)
    })
    for (const [i, piece] of pieces.entries()) {
      if (i > 0) await delay(1)
      if (!over) socket.write(piece)
    }
    messages++
    if (leave === 'rst') {
      await delay(1)
      socket.resetAndDestroy()
    } else {
      if (leave === 'fin') socket.end()
      const patience = (): number => (patient ? 10_000 : text === '' ? PATIENCE_MS : QUIET_MS)
      while (!over && performance.now() - heard < patience()) {
        await Promise.race([ended, delay(10)])
      }
      socket.destroy()
    }
    for (const [tag] of text.matchAll(/(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])/g)) {
      const owner = owners.get(tag)
      if (owner !== undefined && owner !== connection && !outOfTurn.has(owner))
        wrong.push(`the response to ${owner} went to ${connection}`)
    }
    return text
  }

  const attackFrom = async (attack: Attack): Promise<void> => {
    const connection = connections++
    const bytes = bytesOf(attack, tagFor(connection))
    const text = await converse(segments(bytes, attack.cuts), attack.leave, connection)
    const fault = faultOf(text)
    if (fault !== undefined) wrong.push(`an answer that is none: ${fault}`)
  }

  /** A client that behaves; `certain`: nothing may happen to it. */
  const bystander = async (certain: boolean, post: boolean): Promise<void> => {
    const connection = connections++
    const tag = tagFor(connection)
    const head = `${post ? 'POST' : 'GET'} /t/${tag} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n`
    const bytes = Buffer.from(post ? `${head}Content-Length: 5\r\n\r\nhello` : `${head}\r\n`)
    const text = await converse([bytes], 'wait', connection, true)
    if (certain && !text.endsWith(`tag ${tag}\n`))
      wrong.push(`a bystander was told ${JSON.stringify(text.slice(0, 300))}`)
  }

  const victimOf = async (answer: Answer): Promise<void> => {
    const connection = connections++
    const tag = tagFor(connection)
    const bytes = bytesOf(answer, tag)
    judge.told.set(tag, { bytes, cuts: answer.cuts, close: answer.close })
    if (speaksOutOfTurn(segments(bytes, answer.cuts))) outOfTurn.add(connection)
    const request = Buffer.from(`GET /t/${tag} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n`)
    const text = await converse([request], 'wait', connection)
    judge.told.delete(tag)
    const fault = faultOf(text)
    if (fault !== undefined) wrong.push(`an answer that is none: ${fault}`)
  }

  const settle = async (): Promise<void> => {
    const deadline = performance.now() + 8000
    for (;;) {
      const text = await (await fetch(`http://127.0.0.1:${gateway.adminAddress.port}/metrics`)).text()
      const busy = sumOf(text, 'hopgate_inflight_requests', {})
      if (busy === 0) {
        assert.equal(sumOf(text, 'hopgate_accounting_imbalance', {}), 0, 'hopgate_accounting_imbalance')
        break
      }
      assert.ok(performance.now() < deadline, `${busy} exchanges that do not end`)
      await delay(20)
    }
    assert.deepEqual(judge.faults.splice(0), [], 'what an upstream was sent')
    assert.deepEqual(wrong.splice(0), [])
    // Longer than any exchange of the round before: nothing of it can still be on its way.
    owners.clear()
    outOfTurn.clear()
    ids.clear()
    judge.complete.clear()
  }

  const round = async (attackers: readonly Promise<void>[], certain: boolean): Promise<void> => {
    const bystanders = Array.from({ length: BYSTANDERS }, (_, i) => bystander(certain, i % 2 === 1))
    await Promise.all([...attackers, ...bystanders])
    await settle()
  }

  return {
    clients: attacks => round(attacks.map(attackFrom), true),
    upstream: answers => round(answers.map(victimOf), false),
    get exchanges() {
      return exchanges
    },
    get messages() {
      return messages
    },
    close: async () => {
      gateway.cut()
      await gateway.close()
      judge.close()
    },
  }
}

/** One of the segments ends where a final response does, and others follow. */
function speaksOutOfTurn(pieces: readonly Buffer[]): boolean {
  let ended = false
  const parser = new MessageParser({
    head: ({ startLine, headers }) => {
      const status = Number(startLine.split(' ')[1])
      if (status < 200) return 'interim'
      return status === 204 || status === 304 ? 'none' : framingOf(headers, 'until-close')
    },
    body: () => {},
    end: () => {
      ended = true
    },
  })
  try {
    for (const piece of pieces.slice(0, -1)) {
      parser.push(piece)
      if (ended && parser.isBetweenMessages) return true
    }
  } catch {
    // It is no HTTP, and the gateway should say so.
  }
  return false
}

/** What is wrong with a stream of responses; undefined: nothing, though the last may be cut short. */
function faultOf(text: string): string | undefined {
  const parser = new MessageParser({
    head: ({ startLine, headers }) => {
      const status = Number(/^HTTP\/1\.1 ([1-5]\d\d) [\t\x20-\x7e]*$/.exec(startLine)?.[1] ?? 0)
      if (status === 0) throw new Error(`status line ${JSON.stringify(startLine)}`)
      if (headers.some(([name]) => /[^!#$%&'*+.^_`|~0-9A-Za-z-]/.test(name))) throw new Error('a name of no token')
      if (status < 200) return 'interim'
      if (headerOf(headers, 'content-length') !== undefined && headerOf(headers, 'transfer-encoding') !== undefined) {
        throw new Error('two framings')
      }
      return status === 204 || status === 304 ? 'none' : framingOf(headers, 'until-close')
    },
    body: () => {},
    end: () => {},
  })
  try {
    parser.push(Buffer.from(text, 'latin1'))
    return undefined
  } catch (error) {
    return `${error} in ${JSON.stringify(text.slice(0, 600))}`
  }
}
