/** Server-sent events (WHATWG HTML, section 9.2) to the pages that are open. */
import type { ServerResponse } from 'node:http'

/** Pages at once; one more is answered 503 and tries again. */
export const MOST_PAGES = 32
/** A page that does not read is let go when so much waits for it: it comes back, and gets everything anew. */
const MOST_BYTES_WAITING = 4 * 1024 * 1024
/** How soon a page that was cut off tries again, ms. */
const RETRY_MS = 1000

export function eventOf(name: string, data: unknown): string {
  // JSON has no line breaks, so one data line is enough.
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

export class Stream {
  readonly #pages = new Set<ServerResponse>()

  get pages(): number {
    return this.#pages.size
  }

  get full(): boolean {
    return this.#pages.size >= MOST_PAGES
  }

  /**
   * `first` is written piece by piece, with the event loop free in between; from the moment at which it is all written
   * the page gets what `send` is given.
   */
  open(res: ServerResponse, first: Iterable<string>, gone: () => void): void {
    res.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no',
    })
    res.write(`retry: ${RETRY_MS}\n\n`)
    const pieces = first[Symbol.iterator]()
    const next = (): void => {
      if (res.destroyed) return
      const { value, done } = pieces.next()
      if (done === true) return
      if (res.write(value)) setImmediate(next)
      else res.once('drain', next)
    }
    this.#pages.add(res)
    res.once('close', () => {
      this.#pages.delete(res)
      gone()
    })
    res.on('error', () => {})
    next()
  }

  send(text: string): void {
    for (const page of this.#pages) {
      if (page.writableLength > MOST_BYTES_WAITING) page.destroy()
      else page.write(text)
    }
  }

  close(): void {
    for (const page of this.#pages) page.destroy()
  }
}
