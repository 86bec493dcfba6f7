/** The cases: upstream and client faults of the kit (src/prove), each with what the client and the upstream should see. */
import type { Answer, RequestFault } from '../src/prove/faults.ts'
import { answer } from '../src/prove/faults.ts'
import type { Behaviour, UpstreamOptions } from '../src/prove/faulty-upstream.ts'
import { CLIENT_CASES } from './client-cases.ts'
import { LATE_MS, TIMEOUTS } from './timeouts.ts'
import { ask, type Bench, both, cut, type Due, failed, ms, upstreamClosed, type Verdict, whole } from './verdict.ts'

export interface Case {
  /** Also its path. */
  readonly name: string
  readonly group: 'dial' | 'headers' | 'body' | 'reuse' | 'upload' | 'client'
  /** Situation, then what should be seen. */
  readonly what: string
  readonly upstream: Behaviour
  readonly options?: UpstreamOptions
  /** The proxy speaks TLS to it, and verifies. */
  readonly tls?: true
  readonly drive: (bench: Bench) => Promise<Verdict>
}

/** Failures that show by themselves: no timeout is involved. */
const SOON = { ms: 0, lateMs: 300 } as const
/** The kit holds a RST back until what came before it has arrived, 250 ms at most. */
const RST_LATE_MS = 600
const RST_SOON = { ms: 0, lateMs: RST_LATE_MS } as const

/** A GET that has to fail so; where a connection was in use, the upstream's socket has to go. */
function get(expected: Due, closed = false): Case['drive'] {
  return async bench => {
    const asked = await ask(bench)
    const verdict = failed(asked, expected)
    const all = closed ? both(verdict, await upstreamClosed(bench, asked.doneAt)) : verdict
    asked.client.leave('rst')
    return all
  }
}

function getCut(atMs: number, lateMs = LATE_MS, closed = false, from: 'head' | 'request' = 'head'): Case['drive'] {
  return async bench => {
    const asked = await ask(bench)
    const verdict = cut(asked, { ms: atMs, lateMs }, from)
    const all = closed ? both(verdict, await upstreamClosed(bench, asked.doneAt)) : verdict
    asked.client.leave('rst')
    return all
  }
}

function getWhole(status: number, bytes: number): Case['drive'] {
  return async bench => {
    const asked = await ask(bench)
    asked.client.leave('rst')
    return whole(asked, status, bytes)
  }
}

const CONNECT = { ms: TIMEOUTS.connect } as const
const HEADERS = { ms: TIMEOUTS.responseHeaders } as const

const DIAL: readonly Case[] = [
  {
    name: 'dial-refused',
    group: 'dial',
    what: 'nobody listens: 502 at once',
    upstream: { on: 'dial', then: 'refuse' },
    drive: get(SOON),
  },
  {
    name: 'dial-black-hole',
    group: 'dial',
    what: 'every SYN is dropped: 504 at `connect`',
    upstream: { on: 'dial', then: 'black-hole' },
    drive: get(CONNECT),
  },
  {
    name: 'accept-fin',
    group: 'dial',
    what: 'the connection is closed as soon as it is accepted: 502 at once',
    upstream: { on: 'accept', then: 'fin' },
    drive: get(SOON),
  },
  {
    name: 'accept-rst',
    group: 'dial',
    what: 'the connection is reset as soon as it is accepted: 502 at once',
    upstream: { on: 'accept', then: 'rst' },
    drive: get(SOON),
  },
  {
    name: 'tls-hangs',
    group: 'dial',
    what: 'the TLS handshake never ends: 504 at `connect`',
    upstream: { on: 'tls', then: 'hang' },
    tls: true,
    drive: get(CONNECT, true),
  },
  ...(['unknown-ca', 'expired', 'wrong-name'] as const).map(
    (which): Case => ({
      name: `tls-${which}`,
      group: 'dial',
      what: `a certificate that must be refused (${which}): 502 at once`,
      upstream: answer(),
      options: { tls: which },
      tls: true,
      drive: get(SOON),
    }),
  ),
]

const HEADERS_CASES: readonly Case[] = [
  {
    name: 'headers-never',
    group: 'headers',
    what: 'no response: 504 at `response_headers`, and the upstream’s socket is closed',
    upstream: { on: 'headers', then: 'hang' },
    drive: get(HEADERS, true),
  },
  {
    name: 'headers-half',
    group: 'headers',
    what: 'half a response head, then silence: the same',
    upstream: { on: 'headers', then: 'hang', afterBytes: 'half' },
    drive: get(HEADERS, true),
  },
  {
    name: 'headers-drip',
    group: 'headers',
    what: 'the head comes a byte every 100 ms: the same, since progress is not the end of it',
    upstream: { on: 'headers', then: 'drip', pace: { bytesPerTick: 1, tickMs: 100 } },
    drive: get(HEADERS, true),
  },
  {
    name: 'interim-forever',
    group: 'headers',
    what: '`103` every 100 ms for ever: 504 at `response_headers` at the latest; who has enough of them before is right, too',
    upstream: { on: 'headers', then: 'interim', status: 103, count: 'endless', everyMs: 100 },
    drive: get({ ...HEADERS, earlyMs: Infinity }, true),
  },
  ...(['fin', 'rst'] as const).flatMap((then): Case[] => [
    {
      name: `headers-${then}`,
      group: 'headers',
      what: `${then.toUpperCase()} instead of a response: 502 at once`,
      upstream: { on: 'headers', then },
      drive: get(SOON),
    },
    {
      name: `headers-half-${then}`,
      group: 'headers',
      what: `${then.toUpperCase()} in the middle of the head: 502 at once`,
      upstream: { on: 'headers', then, afterBytes: 'half' },
      drive: get(then === 'rst' ? RST_SOON : SOON),
    },
  ]),
  {
    name: 'headers-garbage',
    group: 'headers',
    what: 'bytes that are no HTTP: 502 at once, and none of them reaches the client',
    upstream: { on: 'headers', then: 'garbage' },
    drive: get(SOON, true),
  },
  {
    name: 'headers-overflow',
    group: 'headers',
    what: '256 KiB of headers: 502 at once',
    upstream: { on: 'headers', then: 'overflow' },
    drive: get(SOON),
  },
  {
    name: 'headers-101',
    group: 'headers',
    what: 'a 101 that nobody asked for: 502 at once',
    upstream: { on: 'headers', then: 'upgrade' },
    drive: get(SOON, true),
  },
  {
    name: 'headers-two-lengths',
    group: 'headers',
    what: 'two Content-Lengths that differ: 502 at once',
    upstream: answer({
      headers: [
        ['Content-Length', '3'],
        ['Content-Length', '5'],
      ],
      body: 'abcde',
    }),
    drive: get(SOON),
  },
]

const KIB = 1024
const HALF: Answer = { body: 64 * KIB }
const half = (then: 'hang' | 'fin' | 'rst' | 'garbage', how: Answer = {}): RequestFault => {
  return { on: 'body', then, afterBytes: 32 * KIB, answer: { ...HALF, ...how } }
}

const BODY: readonly Case[] = [
  {
    name: 'body-stalls',
    group: 'body',
    what: 'half a body with a length, then silence: cut at `body_idle`, and the upstream’s socket is closed',
    upstream: half('hang'),
    drive: getCut(TIMEOUTS.bodyIdle, LATE_MS, true),
  },
  {
    name: 'body-stalls-chunked',
    group: 'body',
    what: 'half a body in chunks, then silence: the same',
    upstream: half('hang', { framing: 'chunked' }),
    drive: getCut(TIMEOUTS.bodyIdle, LATE_MS, true),
  },
  {
    name: 'body-slow',
    group: 'body',
    what: 'a body that takes 1.5 s, never still for long: passes whole',
    upstream: { on: 'body', then: 'drip', pace: { bytesPerTick: 10, tickMs: 100 }, answer: { body: 150 } },
    drive: getWhole(200, 150),
  },
  {
    name: 'body-drips-for-ever',
    group: 'body',
    what: 'a body that would take 10 s, never still for long: cut at the `request` deadline',
    upstream: { on: 'body', then: 'drip', pace: { bytesPerTick: 1, tickMs: 100 }, answer: { body: 100 } },
    drive: getCut(TIMEOUTS.request, LATE_MS, true, 'request'),
  },
  {
    name: 'body-short',
    group: 'body',
    what: 'FIN before the Content-Length is reached: the client can see the truncation',
    upstream: half('fin'),
    drive: getCut(0),
  },
  {
    name: 'body-chunks-cut',
    group: 'body',
    what: 'FIN before the last chunk: the same',
    upstream: half('fin', { framing: 'chunked' }),
    drive: getCut(0),
  },
  {
    name: 'body-rst',
    group: 'body',
    what: 'RST before the Content-Length is reached: the same',
    upstream: half('rst'),
    drive: getCut(0, RST_LATE_MS),
  },
  {
    name: 'body-rst-until-close',
    group: 'body',
    what: 'RST in a body that only its close ends: the same',
    upstream: half('rst', { framing: 'close' }),
    drive: getCut(0, RST_LATE_MS),
  },
  {
    name: 'body-bad-chunk',
    group: 'body',
    what: 'a chunk size that is none: the same',
    upstream: half('garbage', { framing: 'chunked' }),
    drive: getCut(0),
  },
  {
    name: 'answer-304-length',
    group: 'body',
    what: 'a 304 with a Content-Length, which is legal: passes',
    upstream: answer({ status: 304, contentLength: 1000 }),
    drive: getWhole(304, 0),
  },
  {
    name: 'answer-503',
    group: 'body',
    what: 'a 503 with a body of 100 KB: passes, and the upstream is asked once',
    upstream: answer({ status: 503, body: 100_000 }),
    drive: async bench => {
      const asked = await ask(bench)
      asked.client.leave('rst')
      const { requests } = bench.upstream.counters
      const times = { seen: `asked ${requests} times`, wrong: requests === 1 ? [] : [`asked ${requests} times`] }
      return both(whole(asked, 503, 100_000), times)
    },
  },
]

/** The second request of each connection meets its end: a server that closes an idle connection just then. */
const racing: Behaviour = ({ indexOnConnection }) =>
  indexOnConnection === 0 ? answer() : { on: 'request', then: 'fin' }

const REUSE: readonly Case[] = [
  {
    name: 'reuse-race-get',
    group: 'reuse',
    what: 'a reused connection ends as the GET arrives: sent again on another, 200',
    upstream: racing,
    drive: async bench => {
      const { client } = await ask(bench)
      const asked = await ask(bench, {}, client)
      client.leave('rst')
      const verdict = whole(asked, 200, 3)
      const isAgain = bench.upstream.counters.requests > 2
      const seen = isAgain ? 'sent again' : verdict.wrong.length > 0 ? 'not sent again' : 'not reused'
      return both(verdict, { seen, wrong: [] })
    },
  },
  {
    name: 'reuse-race-post',
    group: 'reuse',
    what: 'the same with a POST: 502, or closed, because it may have been done already; never sent twice',
    upstream: racing,
    drive: async bench => {
      const { client } = await ask(bench)
      const asked = await ask(bench, { method: 'POST', body: 100 }, client)
      client.leave('rst')
      const posts = bench.upstream.requests.filter(({ method }) => method === 'POST').length
      const seen = `sent ${posts} times`
      if (asked.response?.status === 200 && posts === 1) return { seen: '200, not reused', wrong: [] }
      // So that it looks to the client as if its own connection had been closed just then.
      if (asked.response?.status === 0 && posts === 1) return { seen: 'closed without an answer', wrong: [] }
      return both(failed(asked, SOON), { seen, wrong: posts > 1 ? [seen] : [] })
    },
  },
]

const MIB = 1024 * KIB

const UPLOAD: readonly Case[] = [
  {
    name: 'upload-unread',
    group: 'upload',
    what: 'the upstream does not read a 20 MB upload: 504 at `request_write`, and its socket is closed',
    upstream: { on: 'request', then: 'stop-reading' },
    drive: async bench => {
      const asked = await ask(bench, { method: 'POST', body: 20 * MIB })
      // The buffers on the way take some ms to fill before anything stalls.
      const verdict = failed(asked, { ms: TIMEOUTS.requestWrite, lateMs: 600 })
      const all = both(verdict, await upstreamClosed(bench, asked.doneAt))
      asked.client.leave('rst')
      return all
    },
  },
  {
    name: 'upload-answered-early',
    group: 'upload',
    what: 'the upstream says 413 at the begin of a 20 MB upload, and reads no more: the client gets the 413',
    upstream: {
      on: 'request',
      then: 'answer-early',
      answer: { status: 413, keepAlive: false },
      afterBytes: 10_000,
      rest: 'stop-reading',
    },
    drive: async bench => {
      const asked = await ask(bench, { method: 'POST', body: 20 * MIB })
      asked.client.leave('rst')
      const took = asked.doneAt - asked.sentAt
      const wrong = took > 600 ? [`after ${ms(took)}`] : []
      const verdict = whole(asked, 413, 3)
      return { seen: verdict.seen, wrong: [...verdict.wrong, ...wrong] }
    },
  },
]

export const CASES: readonly Case[] = [...DIAL, ...HEADERS_CASES, ...BODY, ...REUSE, ...UPLOAD, ...CLIENT_CASES]
