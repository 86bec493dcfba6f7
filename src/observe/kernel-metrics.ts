/** What the kernel knows of our sockets and descriptors, shown at a scrape. Linux only: elsewhere no series appears. */
import type { Registry } from 'prom-client'
import { type Emit, registerCounter, registerGauge } from './families.ts'

/** The states of a TCP connection, as the metrics call them; the index is the kernel's number (net/tcp_states.h). */
export const SOCKET_STATES = [
  '',
  'established',
  'syn_sent',
  'syn_recv',
  'fin_wait1',
  'fin_wait2',
  'time_wait',
  'close',
  'close_wait',
  'last_ack',
  'listen',
  'closing',
] as const
export type SocketState = (typeof SOCKET_STATES)[number]

/** Those that a connection of ours can be in. */
const SHOWN = SOCKET_STATES.filter(state => state !== '' && state !== 'close' && state !== 'listen')

/** The side of the connections that clients made; the others are upstreams, whose names cannot begin with `_`. */
export const LISTENER_SIDE = '_listener'

export interface SocketCounts {
  /** By side: `_listener`, or the name of an upstream. */
  readonly sides: ReadonlyMap<string, ReadonlyMap<SocketState, number>>
  /** By upstream: local ports taken towards the endpoint that takes most. */
  readonly ephemeral: ReadonlyMap<string, number>
  /** Connections that wait to be accepted; null: the row of the listener was not found. */
  readonly acceptQueue: number | null
}

/** One look at /proc. A part that could not be read is null, and shows no series. */
export interface KernelReading {
  readonly sockets: SocketCounts | null
  /** Of the whole network namespace, since it was made. */
  readonly listen: { readonly overflows: number; readonly drops: number } | null
  readonly descriptors: { readonly open: number; readonly max: number } | null
}

export interface KernelCounts {
  /** The latest; undefined before the first, and where there is no /proc. */
  readonly reading: KernelReading | undefined
  /** min(`listen.backlog`, net.core.somaxconn), which is what listen(2) makes of it. */
  readonly acceptQueueLimit: number | undefined
  /** Ports in net.ipv4.ip_local_port_range. */
  readonly ephemeralPorts: number | undefined
  /** Looks at the socket table that were left out because it was too large. */
  readonly skipped: number
}

export function registerKernelMetrics(registry: Registry, kernel: () => KernelCounts): void {
  const one = (value: number | null | undefined, emit: Emit): void => {
    if (value !== null && value !== undefined) emit({}, value)
  }
  const reading = (): KernelReading | undefined => kernel().reading
  registerGauge(registry, 'hopgate_accept_queue_depth', 'Connections that wait to be accepted.', emit => {
    one(reading()?.sockets?.acceptQueue, emit)
  })
  registerGauge(registry, 'hopgate_accept_queue_limit', 'How many may: the effective backlog.', emit => {
    one(kernel().acceptQueueLimit, emit)
  })
  registerCounter(registry, 'hopgate_listen_overflows_total', 'Times an accept queue was full.', emit => {
    one(reading()?.listen?.overflows, emit)
  })
  registerCounter(registry, 'hopgate_listen_drops_total', 'Connections that a listener dropped.', emit => {
    one(reading()?.listen?.drops, emit)
  })
  registerGauge(registry, 'hopgate_sockets', 'TCP connections as the kernel counts them.', emit => {
    for (const [side, states] of reading()?.sockets?.sides ?? []) {
      for (const state of SHOWN) emit({ side, state }, states.get(state) ?? 0)
    }
  })
  registerGauge(registry, 'hopgate_ephemeral_ports_used', 'Local ports towards the busiest endpoint.', emit => {
    for (const [upstream, ports] of reading()?.sockets?.ephemeral ?? []) emit({ upstream }, ports)
  })
  registerGauge(registry, 'hopgate_ephemeral_ports', 'Local ports that there are for each endpoint.', emit => {
    one(kernel().ephemeralPorts, emit)
  })
  registerGauge(registry, 'hopgate_fds_open', 'File descriptors in use.', emit => {
    one(reading()?.descriptors?.open, emit)
  })
  registerGauge(registry, 'hopgate_fds_max', 'File descriptors allowed (RLIMIT_NOFILE, soft).', emit => {
    one(reading()?.descriptors?.max, emit)
  })
  registerCounter(registry, 'hopgate_kernel_view_skipped_total', 'Socket tables too large to be read.', emit => {
    one(kernel().skipped, emit)
  })
}
