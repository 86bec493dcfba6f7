/** Clients that are slow, silent, deaf, or gone. */
import { setTimeout as delay } from 'node:timers/promises'
import { answer } from '../src/prove/faults.ts'
import type { RawClient } from '../src/prove/raw-client.ts'
import { requestHead } from '../src/prove/raw-request.ts'
import { readSocketTable } from '../src/prove/socket-table.ts'
import type { Case } from './cases.ts'
import { LATE_MS, PATIENCE_MS, TIMEOUTS } from './timeouts.ts'
import { type Bench, both, ms, onTime, open, proxyCloses, request, upstreamClosed, type Verdict } from './verdict.ts'

/** The proxy has to be rid of this client after `atMs`: with a 408 or without a word, both are usual. */
async function ridOf(client: RawClient, since: number, atMs: number, lateMs = LATE_MS): Promise<Verdict> {
  const response = await client
    .expect()
    .response.then(({ status, doneAt }) => ({ status, doneAt }))
    .catch(() => undefined)
  client.leave('rst')
  if (response === undefined) return { seen: `still there after ${ms(PATIENCE_MS)}`, wrong: ['never ended'] }
  const took = response.doneAt - since
  const seen = `${response.status === 0 ? 'closed' : response.status} after ${ms(took)}`
  const status = response.status === 0 || response.status >= 400 ? [] : [`status ${response.status}`]
  return { seen, wrong: [...status, ...onTime(took, atMs, lateMs)] }
}

const head = (bench: Bench, headers: readonly (readonly [string, string])[] = [], method = 'GET'): Buffer =>
  requestHead({ method, path: bench.path, headers: [['Host', 'localhost'], ...headers] }, bench.port)

const LENGTH = 1_000_000

const SLOW: readonly Case[] = [
  {
    name: 'client-silent',
    group: 'client',
    what: 'a connection that sends nothing: closed at `listen.timeouts.headers`',
    upstream: answer(),
    drive: async bench => {
      const client = await open(bench)
      return ridOf(client, performance.now(), TIMEOUTS.clientHeaders)
    },
  },
  {
    name: 'client-half-head',
    group: 'client',
    what: 'half a request head, then silence: the same',
    upstream: answer(),
    drive: async bench => {
      const client = await open(bench)
      const since = performance.now()
      await client.send(head(bench).subarray(0, 20))
      return ridOf(client, since, TIMEOUTS.clientHeaders)
    },
  },
  {
    name: 'client-head-drips',
    group: 'client',
    what: 'the request head comes a byte every 100 ms: the same, since progress is not the end of it',
    upstream: answer(),
    drive: async bench => {
      const client = await open(bench)
      const since = performance.now()
      void client.drip(head(bench, [['X-Padding', 'p'.repeat(100)]]), { bytesPerTick: 1, tickMs: 100 })
      return ridOf(client, since, TIMEOUTS.clientHeaders)
    },
  },
  {
    name: 'client-upload-stalls',
    group: 'client',
    what: 'an upload that stops: 408 or closed at `listen.timeouts.body_idle`, and the upstream’s socket is closed',
    upstream: answer(),
    drive: async bench => {
      const client = await open(bench)
      await client.send(head(bench, [['Content-Length', String(LENGTH)]], 'POST'))
      await client.send(Buffer.alloc(100_000, 'u'))
      const since = performance.now()
      const verdict = await ridOf(client, since, TIMEOUTS.clientBodyIdle)
      return both(verdict, await upstreamClosed(bench, performance.now()))
    },
  },
  {
    name: 'client-upload-drips',
    group: 'client',
    what: 'an upload of a byte every 200 ms (20 s in all): ended within 3.5 s, by whatever bounds it',
    upstream: answer(),
    drive: async bench => {
      const client = await open(bench)
      await client.send(head(bench, [['Content-Length', '100']], 'POST'))
      const since = performance.now()
      void client.drip(Buffer.alloc(100, 'u'), { bytesPerTick: 1, tickMs: 200 })
      return ridOf(client, since, 0, 3500)
    },
  },
  {
    name: 'client-reads-nothing',
    group: 'client',
    what: 'a client that stops reading a 64 MB answer: cut at `listen.timeouts.write_idle`, the upstream’s socket is closed',
    upstream: answer({ body: 64 * 1024 * 1024 }),
    drive: async bench => {
      const client = await open(bench)
      await client.request(request(bench)).headers
      client.pause()
      const since = performance.now()
      const theirs = { localPort: bench.port, remotePort: client.localPort }
      const at = await proxyCloses(theirs, () => client.ended?.at)
      client.leave('rst')
      if (at === undefined) return { seen: `still there after ${ms(PATIENCE_MS)}`, wrong: ['never ended'] }
      // The buffers on the way take some ms to fill before anything stalls.
      const took = at - since
      const cut = { seen: `cut after ${ms(took)}`, wrong: onTime(took, TIMEOUTS.clientWriteIdle, 600) }
      return both(cut, await upstreamClosed(bench, at))
    },
  },
]

/** The client leaves where `bring` has brought it; the upstream's socket has to go at once. */
function leaves(how: 'fin' | 'rst', bring: (bench: Bench, client: RawClient) => Promise<void>): Case['drive'] {
  return async bench => {
    const client = await open(bench)
    await bring(bench, client)
    const since = performance.now()
    client.leave(how)
    return upstreamClosed(bench, since)
  }
}

async function waiting(bench: Bench, client: RawClient): Promise<void> {
  client.request(request(bench))
  await bench.upstream.nextRequest()
  await delay(50)
}

async function inBody(bench: Bench, client: RawClient): Promise<void> {
  await client.request(request(bench)).bodyReached(1000)
}

async function uploading(bench: Bench, client: RawClient): Promise<void> {
  await client.send(head(bench, [['Content-Length', String(LENGTH)]], 'POST'))
  await client.send(Buffer.alloc(100_000, 'u'))
  await (await bench.upstream.nextRequest()).bodyReached(100_000)
}

async function uploadUnread(bench: Bench, client: RawClient): Promise<void> {
  await client.send(head(bench, [['Content-Length', String(64 * LENGTH)]], 'POST'))
  // Not awaited: most of it never leaves.
  void client.send(Buffer.alloc(16 * LENGTH, 'u')).catch(() => {})
  await bench.upstream.nextRequest()
  await delay(200)
}

const dialsTo = async (port: number): Promise<number> =>
  (await readSocketTable()).filter(row => row.remotePort === port && row.state === 'SYN_SENT').length

const GONE: readonly Case[] = [
  ...(['fin', 'rst'] as const).flatMap((how): Case[] => [
    {
      name: `client-${how}-waiting`,
      group: 'client',
      what: `a client that leaves by ${how.toUpperCase()} before the response: the upstream’s socket is closed at once`,
      upstream: { on: 'headers', then: 'hang' },
      drive: leaves(how, waiting),
    },
    {
      name: `client-${how}-in-body`,
      group: 'client',
      what: `a client that leaves by ${how.toUpperCase()} in a body that has stalled: the same`,
      upstream: { on: 'body', then: 'hang', afterBytes: 100_000 },
      drive: leaves(how, inBody),
    },
    {
      name: `client-${how}-uploading`,
      group: 'client',
      what: `a client that leaves by ${how.toUpperCase()} in the middle of its upload: the same`,
      upstream: answer(),
      drive: leaves(how, uploading),
    },
  ]),
  {
    name: 'client-rst-upload-unread',
    group: 'client',
    what: 'a client that leaves by RST in an upload that the upstream does not read: the same',
    upstream: { on: 'request', then: 'stop-reading' },
    drive: leaves('rst', uploadUnread),
  },
  {
    name: 'client-fin-dialling',
    group: 'client',
    what: 'a client that leaves by FIN while every SYN is dropped: the dial is given up at once',
    upstream: { on: 'dial', then: 'black-hole' },
    drive: async bench => {
      const client = await open(bench)
      client.request(request(bench))
      const { port } = bench.upstream
      for (let looks = 0; (await dialsTo(port)) === 0; looks++) {
        if (looks > 50) return { seen: 'no dial', wrong: ['no dial'] }
      }
      const since = performance.now()
      client.leave('fin')
      while ((await dialsTo(port)) > 0 && performance.now() - since < PATIENCE_MS) await delay(5)
      const took = performance.now() - since
      return { seen: `given up after ${ms(took)}`, wrong: took > LATE_MS ? [`given up after ${ms(took)}`] : [] }
    },
  },
]

export const CLIENT_CASES: readonly Case[] = [...SLOW, ...GONE]
