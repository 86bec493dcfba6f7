/** The way to the upstreams: their names, and with `--dial` their ports. */
import { isIP } from 'node:net'
import type { Config, UpstreamConfig } from '../config/config.ts'
import { formatDuration } from '../config/duration.ts'
import { error, type Finding, ok, warning } from './finding.ts'
import type { Machine } from './machine.ts'

/** glibc asks a server again after 5 s: whoever waits that long has a resolver that does not answer. */
const RESOLVE_TIMEOUT_MS = 5000
/** Within one network a resolver that has the answer takes a few ms. */
const SLOW_RESOLVE_MS = 200

export async function names(config: Config, machine: Machine): Promise<readonly Finding[]> {
  const upstreamOf = new Map<string, string>()
  for (const { name, endpoints } of config.upstreams) {
    for (const { hostname } of endpoints) if (isIP(hostname) === 0) upstreamOf.set(hostname, name)
  }
  if (upstreamOf.size === 0) return [ok('dns', 'every endpoint is an address: nothing to resolve')]
  return Promise.all([...upstreamOf].map(([hostname, upstream]) => nameFinding(hostname, upstream, machine)))
}

async function nameFinding(hostname: string, upstream: string, machine: Machine): Promise<Finding> {
  const from = performance.now()
  const getent = `getent hosts ${hostname}`
  try {
    const addresses = await timely(machine.resolve(hostname), RESOLVE_TIMEOUT_MS)
    const tookMs = Math.round(performance.now() - from)
    const is = `${hostname} (upstream ${upstream}) is ${addresses.join(', ')}`
    if (tookMs < SLOW_RESOLVE_MS) return ok('dns', is)
    const means = 'every new connection pays it, and DNS may take half of the thread pool only'
    return warning(
      'dns',
      `${is}, found after ${tookMs} ms`,
      means,
      `time ${getent}; a caching resolver on this machine, or an address`,
    )
  } catch (failure) {
    const code = (failure as NodeJS.ErrnoException).code ?? String(failure)
    const means = `every request to ${upstream} by way of it fails as ${code === 'ETIMEDOUT' ? 'connect_timeout, stage dns' : 'dns_error'}`
    return error(
      'dns',
      `${hostname} (upstream ${upstream}) does not resolve: ${code}`,
      means,
      `${getent}; /etc/resolv.conf`,
    )
  }
}

/** One connection to each endpoint, within the shortest `connect` timeout of the routes to it. */
export async function dials(config: Config, machine: Machine): Promise<readonly Finding[]> {
  const all = config.upstreams.flatMap(upstream => {
    const timeoutMs = connectTimeoutMs(config, upstream)
    return upstream.endpoints.map(async ({ url, hostname, port }): Promise<Finding> => {
      const from = performance.now()
      try {
        await machine.dial(hostname, port, timeoutMs)
        return ok(
          'dial',
          `${url} (upstream ${upstream.name}) accepts connections, after ${Math.round(performance.now() - from)} ms`,
        )
      } catch (failure) {
        const code = (failure as NodeJS.ErrnoException).code ?? String(failure)
        const late = code === 'ETIMEDOUT'
        const is = `${url} (upstream ${upstream.name}) cannot be reached: ${late ? `no answer within ${formatDuration(timeoutMs)} (connect)` : code}`
        const means = late
          ? 'packets are dropped on the way, or its accept queue is full: every request to it fails as connect_timeout'
          : `every request to it fails as ${code === 'ECONNREFUSED' || code === 'ECONNRESET' ? 'connect_refused' : 'connect_unreachable or dns_error'}`
        return error(
          'dial',
          is,
          means,
          `start it, or correct upstreams.${upstream.name}.endpoints; nc -vz ${hostname} ${port}`,
        )
      }
    })
  })
  return Promise.all(all)
}

function connectTimeoutMs(config: Config, upstream: UpstreamConfig): number {
  const routes = config.routes.filter(route => route.upstream === upstream.name)
  return Math.min(...routes.map(({ timeouts }) => timeouts.connect.value), 10_000)
}

function timely<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
