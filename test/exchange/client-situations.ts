/** Where an exchange can be when its client leaves: one row of the matrix each, brought about on real sockets. */
import type { TestContext } from 'node:test'
import type { Stage } from '../../src/outcome.ts'
import { sharedBlackHole } from '../../src/prove/black-hole.ts'
import { answer } from '../../src/prove/faults.ts'
import { type Behaviour, startUpstream, type Upstream, type UpstreamOptions } from '../../src/prove/faulty-upstream.ts'
import { openClient, type RawClient } from '../../src/prove/raw-client.ts'
import type { PendingResponse } from '../../src/prove/raw-response.ts'
import type { UpstreamConnection } from '../../src/prove/upstream-connection.ts'
import { simple, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { dialling, reaches, sendUntilHeld } from './waiting.ts'

export type Method = 'GET' | 'POST'

/** An exchange that has come to where its client is to leave. */
export interface Scene {
  readonly gw: TestGateway
  readonly client: RawClient
  /** The upstream connection of the exchange; undefined where there is none to see. */
  readonly connection?: UpstreamConnection
  /** Proves that the slot is free again; the upstream has one. */
  readonly recovered: () => Promise<void>
}

export interface Situation {
  readonly when: string
  readonly methods: readonly Method[]
  readonly stage: Stage
  readonly status: number
  /** Bytes were on their way to the client. */
  readonly abortsWrites?: true
  /** POST: nobody reads from the client, so that only the kernel's socket table shows that it left. */
  readonly unread?: true
  /** Upstream sockets that were in use and are to be reset. */
  readonly cancels: 0 | 1
  readonly bring: (t: TestContext, method: Method) => Promise<Scene>
}

/** The path of the exchange that is observed. */
export const PATH = '/observed'
const ONE_SLOT = 'pool: { max_connections: 1 }'
const LONG = 'timeouts: { request: 60s, queue: 30s, connect: 30s, request_write: 30s }, limits: { body: 64MiB }'

/** An upload that no buffer on the way holds. */
const UPLOAD_BYTES = 48 * 1024 * 1024

async function faulty(t: TestContext, behaviour: Behaviour, options?: UpstreamOptions): Promise<Upstream> {
  const upstream = await startUpstream(behaviour, options)
  t.after(() => upstream.close())
  return upstream
}

/** The next request is answered, although the upstream has one slot only. */
async function answersNext(gw: TestGateway, upstream: Upstream): Promise<void> {
  upstream.behave(answer())
  const next = await openClient(gw.port)
  const { status } = await next.request({ path: '/next' }).response
  next.leave('rst')
  if (status !== 200) throw new Error(`the next request got ${status}`)
}

/** Sends the request: of a POST no more than the gateway leaves unread while it is in `stage`. */
async function sendUntil(gw: TestGateway, client: RawClient, method: Method, stage: Stage): Promise<void> {
  if (method === 'GET') {
    client.request({ path: PATH })
    return reaches(gw, PATH, stage)
  }
  client.requestHead({ method, path: PATH, body: UPLOAD_BYTES })
  // All but that one are come to without a body, too.
  if (stage !== 'request_write') await reaches(gw, PATH, stage)
  return sendUntilHeld(gw, client, PATH, stage)
}

/** Sends the whole request. */
function sendAll(client: RawClient, method: Method): PendingResponse {
  return client.request({ method, path: PATH, ...(method === 'POST' ? { body: 20_000 } : {}) })
}

/** A whole request to an upstream that behaves so; resolves when the upstream has its head. */
async function answeredWith(t: TestContext, method: Method, behaviour: Behaviour) {
  const upstream = await faulty(t, behaviour)
  const gw = await startTestGateway(t, simple(upstream.url, LONG, ONE_SLOT))
  const client = await openClient(gw.port)
  const pending = sendAll(client, method)
  const { connection } = await upstream.nextRequest()
  return { upstream, gw, client, connection, pending, recovered: () => answersNext(gw, upstream) }
}

/** The situation of a response body that has come so far. */
function midBody(bodyBytes: number, afterBytes: number): Situation['bring'] {
  return async (t, method) => {
    const scene = await answeredWith(t, method, { on: 'body', then: 'hang', afterBytes, answer: { body: bodyBytes } })
    await scene.pending.bodyReached(afterBytes)
    return scene
  }
}

export const SITUATIONS: readonly Situation[] = [
  {
    when: 'while it waits for a slot',
    methods: ['GET', 'POST'],
    stage: 'queue',
    status: 499,
    unread: true,
    cancels: 0,
    bring: async (t, method) => {
      const upstream = await faulty(t, { on: 'headers', then: 'hang' })
      const gw = await startTestGateway(t, simple(upstream.url, LONG, ONE_SLOT))
      const first = await openClient(gw.port)
      const answered = first.request({ path: '/first' })
      const holder = await upstream.nextRequest()
      const client = await openClient(gw.port)
      await sendUntil(gw, client, method, 'queue')
      const recovered = async (): Promise<void> => {
        await holder.answer()
        await answered.response
        first.leave('rst')
        await answersNext(gw, upstream)
        if (upstream.requests.some(({ path }) => path === PATH)) throw new Error('the upstream saw the request')
      }
      return { gw, client, recovered }
    },
  },
  {
    when: 'while we dial a black hole',
    methods: ['GET', 'POST'],
    stage: 'connect',
    status: 499,
    unread: true,
    cancels: 1,
    bring: async (t, method) => {
      const { port } = await sharedBlackHole()
      const gw = await startTestGateway(t, simple(`http://127.0.0.1:${port}`, LONG, ONE_SLOT))
      const client = await openClient(gw.port)
      await sendUntil(gw, client, method, 'connect')
      await dialling(port, true)
      return { gw, client, recovered: () => dialling(port, false) }
    },
  },
  {
    when: 'while the TLS handshake hangs',
    methods: ['GET', 'POST'],
    stage: 'tls',
    status: 499,
    unread: true,
    cancels: 1,
    bring: async (t, method) => {
      const upstream = await faulty(t, { on: 'tls', then: 'hang' }, { tls: 'good' })
      const gw = await startTestGateway(t, simple(upstream.url, LONG, `${ONE_SLOT}, tls: { verify: false }`))
      const client = await openClient(gw.port)
      await sendUntil(gw, client, method, 'tls')
      const connection = await upstream.nextConnection()
      return { gw, client, connection, recovered: () => answersNext(gw, upstream) }
    },
  },
  {
    when: 'in the middle of its upload',
    methods: ['POST'],
    stage: 'request_body',
    status: 499,
    cancels: 1,
    bring: async (t, method) => {
      const upstream = await faulty(t, answer())
      const gw = await startTestGateway(t, simple(upstream.url, LONG, ONE_SLOT))
      const client = await openClient(gw.port)
      client.requestHead({ method, path: PATH, body: UPLOAD_BYTES })
      await client.send(Buffer.alloc(70_000, 'u'))
      const request = await upstream.nextRequest()
      await request.bodyReached(70_000)
      return { gw, client, connection: request.connection, recovered: () => answersNext(gw, upstream) }
    },
  },
  {
    when: 'in the middle of an upload that the upstream does not read',
    methods: ['POST'],
    stage: 'request_write',
    status: 499,
    unread: true,
    cancels: 1,
    bring: async (t, method) => {
      const upstream = await faulty(t, { on: 'request', then: 'stop-reading', afterBytes: 70_000 })
      const gw = await startTestGateway(t, simple(upstream.url, LONG, ONE_SLOT))
      const client = await openClient(gw.port)
      await sendUntil(gw, client, method, 'request_write')
      const { connection } = await upstream.nextRequest()
      return { gw, client, connection, recovered: () => answersNext(gw, upstream) }
    },
  },
  {
    when: 'while we await headers',
    methods: ['GET', 'POST'],
    stage: 'response_headers',
    status: 499,
    cancels: 1,
    bring: async (t, method) => {
      const scene = await answeredWith(t, method, { on: 'headers', then: 'hang' })
      await reaches(scene.gw, PATH, 'response_headers')
      return scene
    },
  },
  {
    when: 'while a small body stalls mid-way',
    methods: ['GET', 'POST'],
    stage: 'response_body',
    status: 200,
    cancels: 1,
    bring: midBody(1000, 400),
  },
  {
    when: 'while a body of a megabyte stalls mid-way',
    methods: ['GET', 'POST'],
    stage: 'response_body',
    status: 200,
    cancels: 1,
    bring: midBody(1024 * 1024, 300_000),
  },
  {
    when: 'without reading a large body',
    methods: ['GET', 'POST'],
    stage: 'client_write',
    status: 200,
    abortsWrites: true,
    cancels: 1,
    bring: async (t, method) => {
      const scene = await answeredWith(t, method, answer({ body: UPLOAD_BYTES }))
      await scene.pending.headers
      scene.client.pause()
      await reaches(scene.gw, PATH, 'client_write')
      return scene
    },
  },
]
