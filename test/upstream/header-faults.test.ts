/** What can go wrong between the request and the final response headers, with an upstream that was reached. */
import { answer } from '../../src/prove/faults.ts'
import { type FaultCase, faultTests } from './support.ts'

const waiting = 'timeouts: { response_headers: 200ms }'
const reset = {
  outcome: 'reset',
  stage: 'response_headers',
  status: 502,
  proxyError: 'connection_terminated',
} as const
const protocolError = {
  outcome: 'protocol_error',
  stage: 'response_headers',
  status: 502,
  proxyError: 'http_protocol_error',
} as const
const timeout = {
  outcome: 'response_headers_timeout',
  stage: 'response_headers',
  status: 504,
  timeout: 'response_headers',
  proxyError: 'http_response_timeout',
} as const

const silences: readonly FaultCase[] = [
  {
    name: 'an upstream that accepts and says nothing',
    fault: { on: 'accept', then: 'hang' },
    route: waiting,
    expect: timeout,
  },
  {
    name: 'an upstream that reads the request and says nothing',
    fault: { on: 'headers', then: 'hang' },
    route: waiting,
    expect: timeout,
  },
  {
    name: 'half of the headers, then silence',
    fault: { on: 'headers', then: 'hang', afterBytes: 'half' },
    route: waiting,
    expect: timeout,
  },
  {
    name: 'headers a byte at a time: they do not restart the clock',
    fault: { on: 'headers', then: 'drip', pace: { bytesPerTick: 1, tickMs: 20 } },
    route: waiting,
    expect: timeout,
  },
  ...([100, 102, 103] as const).map(status => ({
    name: `endless ${status}s: an interim response is no answer, and does not restart the clock`,
    fault: { on: 'headers', then: 'interim', status, count: 'endless', everyMs: 20 } as const,
    route: waiting,
    expect: timeout,
  })),
]

const ends: readonly FaultCase[] = (['fin', 'rst'] as const).flatMap(how => {
  const code = how === 'fin' ? 'HOPGATE_ENDED' : 'ECONNRESET'
  return [
    {
      name: `a ${how} some time after the request, instead of an answer`,
      fault: { on: 'accept', then: how, afterMs: 50 },
      expect: { ...reset, code },
    },
    {
      name: `a ${how} as soon as the request is read`,
      fault: { on: 'headers', then: how },
      expect: { ...reset, code },
    },
  ]
})

const halves: readonly FaultCase[] = [
  {
    name: 'half of the headers, then a fin',
    fault: { on: 'headers', then: 'fin', afterBytes: 'half' },
    expect: { ...reset, code: 'HOPGATE_ENDED' },
  },
  {
    name: 'half of the headers, then a rst',
    fault: { on: 'headers', then: 'rst', afterBytes: 'half' },
    expect: { ...reset, code: 'ECONNRESET' },
  },
]

const nonsense: readonly FaultCase[] = [
  {
    name: 'bytes that are no HTTP',
    fault: { on: 'headers', then: 'garbage' },
    expect: { ...protocolError, code: 'HOPGATE_NOT_HTTP' },
  },
  {
    name: 'more headers than anybody needs',
    fault: { on: 'headers', then: 'overflow' },
    expect: { ...protocolError, code: 'HOPGATE_NOT_HTTP' },
  },
  {
    name: 'a 101 that nobody asked for',
    fault: { on: 'headers', then: 'upgrade' },
    expect: { ...protocolError, code: 'HOPGATE_NOT_HTTP', message: /switch of protocols/ },
  },
  ...(
    [
      ['Transfer-Encoding: foo', [['Transfer-Encoding', 'foo']]],
      ['Transfer-Encoding: gzip, chunked', [['Transfer-Encoding', 'gzip, chunked']]],
      [
        'Transfer-Encoding given twice',
        [
          ['Transfer-Encoding', 'chunked'],
          ['Transfer-Encoding', 'chunked'],
        ],
      ],
    ] as const
  ).map(([name, headers]) => ({
    name,
    fault: answer({ headers, framing: 'chunked' }),
    expect: { ...protocolError, code: 'HOPGATE_NOT_HTTP', message: /framing/ },
  })),
  {
    name: 'two Content-Lengths that differ',
    fault: answer({
      headers: [
        ['Content-Length', '3'],
        ['Content-Length', '4'],
      ],
    }),
    expect: { ...protocolError, code: 'HOPGATE_NOT_HTTP' },
  },
  {
    name: 'Content-Length and Transfer-Encoding together',
    fault: answer({ headers: [['Content-Length', '3']], framing: 'chunked' }),
    expect: { ...protocolError, code: 'HOPGATE_NOT_HTTP' },
  },
]

faultTests([...silences, ...ends, ...halves, ...nonsense])
