/** The numbers of the WebSockets of one route, in place; only routes with `websocket` have them. */
import type { Registry } from 'prom-client'
import type { CountCell } from './cells.ts'
import { registerCounter, registerGauge } from './families.ts'
import type { ClosedBy, WebSocketEnd } from './record.ts'

/** What became of an attempt to reach the backend again; `given_up`: of all of them. */
export const RECONNECT_RESULTS = ['connected', 'failed', 'given_up'] as const
export type ReconnectResult = (typeof RECONNECT_RESULTS)[number]

/** RFC 6455 section 7.4.1 and the registry of close codes. */
const KNOWN_CODES = { first: 1000, last: 1015 }

/** A peer may send any of 65536 codes: those of applications share a series for each thousand. */
export function codeLabel(code: number): string {
  if (code >= KNOWN_CODES.first && code <= KNOWN_CODES.last) return String(code)
  if (code >= 3000 && code <= 4999) return `${Math.floor(code / 1000)}xxx`
  return '_other'
}

export class WebSocketMetrics {
  readonly route: string
  readonly mode: WebSocketEnd['mode']
  /** Open now. */
  open = 0
  /** From clients, and to them: everything after the handshake in a tunnel, the payload of messages in a relay. */
  bytesIn = 0
  bytesOut = 0
  readonly reconnects: Readonly<Record<ReconnectResult, { count: number }>> = {
    connected: { count: 0 },
    failed: { count: 0 },
    given_up: { count: 0 },
  }
  readonly closed = new Map<string, CountCell>()

  constructor(route: string, mode: WebSocketEnd['mode']) {
    this.route = route
    this.mode = mode
  }

  ended(by: ClosedBy, code: number): void {
    const label = codeLabel(code)
    const key = `${by} ${label}`
    let cell = this.closed.get(key)
    if (cell === undefined) {
      cell = { labels: { route: this.route, mode: this.mode, by, code: label }, count: 0 }
      this.closed.set(key, cell)
    }
    cell.count += 1
  }

  reconnect(result: ReconnectResult): void {
    this.reconnects[result].count += 1
  }
}

export function registerWebSocketMetrics(registry: Registry, routes: readonly WebSocketMetrics[]): void {
  const labelled = routes.map(cells => ({
    cells,
    open: { route: cells.route, mode: cells.mode },
    into: { route: cells.route, direction: 'in' },
    out: { route: cells.route, direction: 'out' },
    results: RECONNECT_RESULTS.map(result => ({ result, labels: { route: cells.route, result } })),
  }))
  registerGauge(registry, 'hopgate_websocket_connections', 'WebSockets that are open.', emit => {
    for (const { cells, open } of labelled) emit(open, cells.open)
  })
  registerCounter(registry, 'hopgate_websocket_closed_total', 'WebSockets that ended, by whom and how.', emit => {
    for (const { cells } of labelled) for (const cell of cells.closed.values()) emit(cell.labels, cell.count)
  })
  registerCounter(registry, 'hopgate_websocket_bytes_total', 'Bytes from clients (in) and to them (out).', emit => {
    for (const { cells, into, out } of labelled) {
      emit(into, cells.bytesIn)
      emit(out, cells.bytesOut)
    }
  })
  registerCounter(registry, 'hopgate_websocket_reconnects_total', 'Attempts to reach a lost backend again.', emit => {
    for (const { cells, results } of labelled) {
      if (cells.mode !== 'relay') continue
      for (const { result, labels } of results) emit(labels, cells.reconnects[result].count)
    }
  })
}
