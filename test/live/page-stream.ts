/** Server-sent events as a test reads them: without a browser. */
import { strict as assert } from 'node:assert'
import type { TestContext } from 'node:test'

export interface Heard {
  readonly name: string
  readonly data: unknown
}

export interface Listening {
  readonly response: Response
  readonly events: readonly Heard[]
  /** Waits for the first event, of those heard and those to come, that `wanted` agrees to. */
  until(what: string, wanted: (event: Heard) => boolean): Promise<Heard>
  /** The stream has ended. */
  readonly ended: Promise<void>
  close(): void
}

const PATIENCE_MS = 20_000

export async function listen(t: TestContext, url: string): Promise<Listening> {
  const abort = new AbortController()
  t.after(() => abort.abort())
  const response = await fetch(url, { signal: abort.signal })
  const events: Heard[] = []
  const waiting = new Set<() => void>()
  const read = async (): Promise<void> => {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      rest += decoder.decode(chunk as Uint8Array, { stream: true })
      const blocks = rest.split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const found = /^event: (.+)\ndata: (.+)$/.exec(block)
        if (found !== null) events.push({ name: found[1] ?? '', data: JSON.parse(found[2] ?? '') })
      }
      for (const look of waiting) look()
    }
  }
  const ended = read().catch(() => undefined)
  return {
    response,
    events,
    ended,
    close: () => abort.abort(),
    until: (what, wanted) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(look)
          reject(new assert.AssertionError({ message: `not heard within ${PATIENCE_MS} ms: ${what}` }))
        }, PATIENCE_MS)
        const look = (): void => {
          const found = events.find(wanted)
          if (found === undefined) return
          clearTimeout(timer)
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
  }
}
