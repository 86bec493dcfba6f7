/** The keys of `routes[i].websocket`, what may stand beside what, and the values that come of it. */
import type { Sourced, WebSocketConfig } from './config.ts'
import { formatDuration } from './duration.ts'
import { inherited, optional } from './field.ts'
import { type InheritedField, orOff, section, type Values } from './kind.ts'
import { duration, durationOrOff, integer, oneOf, size } from './scalars.ts'
import type { Report, SourceNode } from './source.ts'
import { locate } from './source.ts'
import { websocketTimeoutDoc } from './timeouts.ts'

const KIB = 1024
const GIB = 1024 ** 3

export const websocket = section({
  mode: optional(
    oneOf('tunnel', 'relay'),
    'tunnel',
    '`tunnel`: the client and the upstream shake hands with each other, and the gateway passes bytes on. `relay`: the gateway speaks WebSocket with both, finds dead peers by pings, and bridges a restart of the backend.',
  ),
  idle_timeout: inherited(durationOrOff, '60s', websocketTimeoutDoc('websocket.idle_timeout')),
  max_lifetime: inherited(durationOrOff, '4h', websocketTimeoutDoc('websocket.max_lifetime')),
  ping_interval: inherited(
    durationOrOff,
    '20s',
    `Relay only. Both peers are pinged so often. ${websocketTimeoutDoc('websocket.ping_interval')}`,
  ),
  max_message: inherited(
    size({ min: KIB, max: GIB }),
    '1MiB',
    'Relay only. A larger message ends the connection with the close code 1009.',
  ),
  max_buffered: inherited(
    size({ min: KIB, max: GIB }),
    '1MiB',
    'Relay only. What may wait for the backend: while one is there, the client is read no further; while there is none, the client is closed with 1013 beyond it.',
  ),
  reconnect: inherited(
    orOff(
      section({
        attempts: optional(integer({ min: 1, max: 1000 }), '5', 'How often in a row it is tried.'),
        backoff: optional(
          duration,
          '200ms',
          'The pause before the first attempt, of which a random half to the whole is waited; each later one is twice as long.',
        ),
        max_backoff: optional(duration, '5s', 'No pause is longer.'),
      }),
    ),
    '{}',
    'Relay only. What is done when the backend is lost without a close code of its own (or with 1001 or 1012): the client stays, and another connection is made.',
  ),
})
export type WrittenWebSocket = Values<typeof websocket.fields>

const RELAY_ONLY = ['ping_interval', 'max_message', 'max_buffered', 'reconnect'] as const

export function resolveWebSocket(written: WrittenWebSocket | null, origin: string): WebSocketConfig | null {
  if (written === null) return null
  const { fields } = websocket
  const sourced = (field: InheritedField<number>, value: number | undefined): Sourced<number> =>
    value === undefined ? { value: field.builtInValue, origin: 'built-in' } : { value, origin }
  const reconnect = written.reconnect === undefined ? fields.reconnect.builtInValue : written.reconnect
  return {
    mode: written.mode,
    idleTimeout: sourced(fields.idle_timeout, written.idle_timeout),
    maxLifetime: sourced(fields.max_lifetime, written.max_lifetime),
    pingInterval: sourced(fields.ping_interval, written.ping_interval),
    maxMessageBytes: written.max_message ?? fields.max_message.builtInValue,
    maxBufferedBytes: written.max_buffered ?? fields.max_buffered.builtInValue,
    reconnect:
      reconnect === null
        ? null
        : { attempts: reconnect.attempts, backoffMs: reconnect.backoff, maxBackoffMs: reconnect.max_backoff },
  }
}

/** What no single value can tell. */
export function checkWebSocket(
  written: WrittenWebSocket | null,
  methods: readonly string[] | null,
  index: number,
  root: SourceNode,
  report: Report,
): void {
  if (written === null) return
  const at = (...keys: readonly string[]) => locate(root, 'routes', index, 'websocket', ...keys)
  if (methods !== null && !methods.includes('GET')) {
    report(
      at(),
      `can never be used: a WebSocket begins with GET (got methods ${methods.join(' ')}, allowed GET among them)`,
    )
  }
  if (written.mode === 'tunnel') {
    for (const key of RELAY_ONLY) {
      if (written[key] !== undefined)
        report(at(key), `only for mode: relay (got ${key} beside mode: tunnel, allowed mode: relay)`)
    }
  }
  const { idle_timeout: idle, max_lifetime: lifetime, reconnect } = written
  if (idle !== undefined && lifetime !== undefined && Number.isFinite(idle) && idle >= lifetime) {
    report(
      at('idle_timeout'),
      `can never fire: max_lifetime, beside it, is ${formatDuration(lifetime)} (got ${formatDuration(idle)}, allowed less than ${formatDuration(lifetime)})`,
    )
  }
  if (reconnect !== undefined && reconnect !== null && reconnect.backoff > reconnect.max_backoff) {
    report(
      at('reconnect', 'backoff'),
      `longer than max_backoff (got ${formatDuration(reconnect.backoff)}, allowed up to ${formatDuration(reconnect.max_backoff)})`,
    )
  }
}
