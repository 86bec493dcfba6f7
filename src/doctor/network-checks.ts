/** The kernel's side of connections: accept queue, SYN queue, ports, connection tracking. Linux. */
import type { Config } from '../config/config.ts'
import { formatDuration } from '../config/duration.ts'
import { error, type Finding, ok, warning } from './finding.ts'
import { type Machine, readNumber } from './machine.ts'
import { needsOf } from './needs.ts'

/** include/net/tcp.h, TCP_TIMEWAIT_LEN: not configurable. */
const TIME_WAIT_SECONDS = 60

export function backlog(config: Config, machine: Machine): readonly Finding[] {
  const most = readNumber(machine, '/proc/sys/net/core/somaxconn')
  const asked = config.listen.backlog
  if (most === null) return []
  if (asked <= most)
    return [ok('backlog', `the accept queue has room for ${asked} connections (net.core.somaxconn ${most})`)]
  return [
    error(
      'backlog',
      `listen.backlog ${asked} is lowered to ${most} by net.core.somaxconn`,
      `a burst of more than ${most} connections, or a pause of the event loop while so many come, loses SYNs: those clients wait 1 s and longer`,
      `sysctl -w net.core.somaxconn=${asked}   (compose, of the service: sysctls: { net.core.somaxconn: ${asked} }; Kubernetes, of the pod: securityContext: { sysctls: [{ name: net.core.somaxconn, value: "${asked}" }] }), or listen.backlog: ${most}`,
    ),
  ]
}

export function synQueue(config: Config, machine: Machine): readonly Finding[] {
  const size = readNumber(machine, '/proc/sys/net/ipv4/tcp_max_syn_backlog')
  const cookies = readNumber(machine, '/proc/sys/net/ipv4/tcp_syncookies')
  if (size === null || cookies === null) return []
  const accept = Math.min(config.listen.backlog, readNumber(machine, '/proc/sys/net/core/somaxconn') ?? Infinity)
  if (cookies !== 0)
    return [ok('syn_queue', `tcp_syncookies is on: a full SYN queue (tcp_max_syn_backlog ${size}) loses no client`)]
  if (size >= accept) return [ok('syn_queue', `tcp_max_syn_backlog ${size} is not below the accept queue's ${accept}`)]
  return [
    warning(
      'syn_queue',
      `tcp_max_syn_backlog ${size} is below the accept queue's ${accept}, and tcp_syncookies is off`,
      `under a burst, or a SYN flood, handshakes are dropped before the accept queue is full`,
      `sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=${accept}`,
    ),
  ]
}

export function abortOnOverflow(_config: Config, machine: Machine): readonly Finding[] {
  const value = readNumber(machine, '/proc/sys/net/ipv4/tcp_abort_on_overflow')
  if (value === null) return []
  if (value === 0)
    return [ok('overflow', 'tcp_abort_on_overflow is off: who meets a full accept queue tries again after 1 s')]
  return [
    warning(
      'overflow',
      'tcp_abort_on_overflow is on',
      'who meets a full accept queue is reset at once, and fails where waiting a second would have done',
      'sysctl -w net.ipv4.tcp_abort_on_overflow=0',
    ),
  ]
}

/**
 * To one address and port there are as many connections as local ports. Each that we close in good order keeps its port
 * for 60 s more; those that are reset do not.
 */
export function ports(config: Config, machine: Machine): readonly Finding[] {
  const [first, last] = (machine.read('/proc/sys/net/ipv4/ip_local_port_range') ?? '').split(/\s+/).map(Number)
  if (first === undefined || last === undefined || !(last >= first)) return []
  const range = last - first + 1
  const perEndpoint = new Map<string, { most: number; perSecond: number; keepaliveMs: number }>()
  for (const { pool, endpoints } of config.upstreams) {
    for (const { authority } of endpoints) {
      const { most, perSecond, keepaliveMs } = perEndpoint.get(authority) ?? {
        most: 0,
        perSecond: 0,
        keepaliveMs: Infinity,
      }
      perEndpoint.set(authority, {
        most: most + pool.maxConnections,
        perSecond: perSecond + pool.maxConnections / (pool.keepaliveMs / 1000),
        keepaliveMs: Math.min(keepaliveMs, pool.keepaliveMs),
      })
    }
  }
  const mend = 'sysctl -w net.ipv4.ip_local_port_range="1024 65535", or more endpoints'
  const findings = [...perEndpoint].flatMap(([authority, { most, perSecond, keepaliveMs }]): readonly Finding[] => {
    if (most > range) {
      const means = `connections to ${authority} above that fail with EADDRNOTAVAIL (outcome resource_exhausted)`
      return [error('ports', `${range} local ports for ${most} connections to ${authority}`, means, mend)]
    }
    const waiting = Math.ceil(perSecond * TIME_WAIT_SECONDS)
    if (most + waiting <= range) return []
    return [
      warning(
        'ports',
        `${range} local ports for ${most} connections to ${authority}, and as many new ones every ${formatDuration(keepaliveMs)}`,
        `if all of them idle out again and again, ${waiting} ports are in TIME_WAIT beside the ${most} in use, and dialling fails with EADDRNOTAVAIL`,
        `${mend}, or a longer pool.keepalive`,
      ),
    ]
  })
  return findings.length > 0 ? findings : [ok('ports', `${range} local ports to each endpoint`)]
}

const NEARLY_FULL = 0.8

export function conntrack(config: Config, machine: Machine): readonly Finding[] {
  const most = readNumber(machine, '/proc/sys/net/netfilter/nf_conntrack_max')
  const count = readNumber(machine, '/proc/sys/net/netfilter/nf_conntrack_count')
  if (most === null || most === 0) return [ok('conntrack', 'connections are not tracked here')]
  const { maxConnections, pooled } = needsOf(config)
  const need = maxConnections + pooled
  const wanted = 2 ** Math.ceil(Math.log2(need * 2))
  const mend = `sysctl -w net.netfilter.nf_conntrack_max=${Math.max(wanted, most * 2)}`
  if (count !== null && count > most * NEARLY_FULL) {
    return [
      error(
        'conntrack',
        `${count} of ${most} entries of the connection tracking table are taken`,
        'when it is full, new connections are dropped without a word: connect_timeout here, and clients that never arrive',
        mend,
      ),
    ]
  }
  if (most < need) {
    return [
      warning(
        'conntrack',
        `the connection tracking table has ${most} entries`,
        `${maxConnections} clients and ${pooled} pooled connections need ${need}: what is above is dropped without a word`,
        mend,
      ),
    ]
  }
  return [
    ok(
      'conntrack',
      `${count ?? 'some'} of ${most} entries of the connection tracking table are taken, ${need} may be needed`,
    ),
  ]
}
