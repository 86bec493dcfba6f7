/** The backends of the demo: who answers at the endpoints of config/demo.yaml, and how it misbehaves. */
import { createServer } from 'node:http'
import type { UpstreamConfig } from '../config/config.ts'
import type { RequestFault } from '../prove/faults.ts'
import { type Behaviour, startUpstream } from '../prove/faulty-upstream.ts'

const JSON_HEADERS = [['Content-Type', 'application/json']] as const
const MIB = 1024 * 1024

/** `echo` is no fault: it needs to know what was uploaded. */
type Backend = Behaviour | 'echo'

const backends: Readonly<Record<string, Backend>> = {
  fast: { on: 'request', then: 'answer', answer: { headers: JSON_HEADERS, body: '{"backend":"fast"}\n' } },
  slow: {
    on: 'request',
    then: 'answer',
    answer: { headers: JSON_HEADERS, body: '{"backend":"slow"}\n', delayHeadersMs: 300 },
  },
  hang: { on: 'headers', then: 'hang' },
  stuck: { on: 'body', then: 'hang', afterBytes: 64 * 1024, answer: { body: MIB } },
  drip: { on: 'body', then: 'drip', pace: { bytesPerTick: 1, tickMs: 100 }, answer: { body: 1000 } },
  truncated: { on: 'body', then: 'fin', afterBytes: 1000, answer: { body: 64 * 1024 } },
  reset: { on: 'headers', then: 'rst' },
  refuse: { on: 'dial', then: 'refuse' },
  'black-hole': { on: 'dial', then: 'black-hole' },
  garbage: { on: 'headers', then: 'garbage' },
  flaky: ({ indexOnConnection }): RequestFault =>
    // What a server does that closes a kept connection in the instant in which the next request is on its way.
    indexOnConnection === 0
      ? { on: 'request', then: 'answer', answer: { headers: JSON_HEADERS, body: '{"backend":"flaky"}\n' } }
      : { on: 'request', then: 'rst' },
  // More than the kernel keeps for a client that does not read.
  big: { on: 'request', then: 'answer', answer: { body: 64 * MIB } },
  echo: 'echo',
  narrow: { on: 'request', then: 'answer', answer: { body: 'narrow\n', delayHeadersMs: 400 } },
}

/** A backend that cannot listen. */
export class BackendFailed extends Error {
  override readonly name = 'BackendFailed'
}

/** Starts every backend where its upstream says it is; all of them or none. */
export async function startBackends(upstreams: readonly UpstreamConfig[]): Promise<{ close(): Promise<void> }> {
  const started: { close(): Promise<unknown> }[] = []
  const close = async (): Promise<void> => {
    await Promise.all(started.map(backend => backend.close()))
  }
  for (const { name, endpoints } of upstreams) {
    const backend = backends[name]
    if (backend === undefined) continue
    for (const { url, port } of endpoints) {
      try {
        started.push(await (backend === 'echo' ? startEcho(port) : startUpstream(backend, { port, remember: false })))
      } catch (error) {
        // Only Linux has black holes on loopback; elsewhere that backend refuses.
        if (name === 'black-hole' && !isTaken(error)) continue
        await close()
        const why = isTaken(error) ? 'the port is taken' : (error as Error).message
        throw new BackendFailed(`the backend "${name}" cannot listen at ${url}: ${why}`)
      }
    }
  }
  return { close }
}

function isTaken(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
}

/** Answers every request with its own body, as it comes. */
async function startEcho(port: number): Promise<{ close(): Promise<unknown> }> {
  const server = createServer((req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/octet-stream' })
    req.pipe(res)
    req.on('error', () => res.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    close: () =>
      new Promise(resolve => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  }
}
