/** What the process itself may use: descriptors, memory, CPU, threads, clock. */
import { isIP } from 'node:net'
import type { Config } from '../config/config.ts'
import { formatSize } from '../config/size.ts'
import { cgroupLimits } from './cgroup.ts'
import { error, type Finding, note, ok, warning } from './finding.ts'
import type { Machine } from './machine.ts'
import { needsOf } from './needs.ts'

/** The listener, the admin listener and its clients, log, epoll, event descriptors, files of the TLS setup: 30 to 60 of them. */
const OTHER_DESCRIPTORS = 100

const MIB = 1024 * 1024

export function nofile(config: Config, machine: Machine): readonly Finding[] {
  // Node raises the soft limit to the hard one when it starts: what stands here now is what there is.
  const [, digits = ''] = /^Max open files\s+(\S+)/m.exec(machine.read('/proc/self/limits') ?? '') ?? []
  const limit = digits === 'unlimited' ? Infinity : Number(digits || Number.NaN)
  if (Number.isNaN(limit)) return []
  const { inFlight, pooled, maxConnections } = needsOf(config)
  const need = 2 * inFlight + pooled + OTHER_DESCRIPTORS
  const full = maxConnections + pooled + OTHER_DESCRIPTORS
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(need, full)))
  const mend = `LimitNOFILE=${wanted} (systemd), --ulimit nofile=${wanted}:${wanted} (docker), ulimit -n ${wanted} (a shell, as root)`
  if (limit < need) {
    return [
      error(
        'nofile',
        `${limit} files may be open`,
        `2 x ${inFlight} in flight + ${pooled} pooled + ${OTHER_DESCRIPTORS} = ${need} may be needed: above the limit accept() and connect() fail with EMFILE (outcome resource_exhausted)`,
        mend,
      ),
    ]
  }
  if (limit < full) {
    return [
      warning(
        'nofile',
        `${limit} files may be open`,
        `listen.max_connections ${maxConnections} + ${pooled} pooled + ${OTHER_DESCRIPTORS} = ${full}: descriptors run out before max_connections is reached, so EMFILE comes in place of an orderly refusal`,
        `${mend}, or listen.max_connections: ${limit - pooled - OTHER_DESCRIPTORS}`,
      ),
    ]
  }
  return [
    ok(
      'nofile',
      `${limit === Infinity ? 'any number of' : limit} files may be open, ${Math.max(need, full)} may be needed`,
    ),
  ]
}

/** Measured, Node 20: 56 KiB for a GET that waits for its answer, 234 KiB for an upload of 200 KB that waits. */
const PER_EXCHANGE_BYTES = 64 * 1024
const PER_UPLOAD_BYTES = 256 * 1024
/** Of the process before its first request: code, compiler, TLS roots. */
const BASE_BYTES = 96 * MIB
/** Beside V8's heap there are the sockets' buffers, the log's and the code. */
const HEAP_SHARE = 0.75

export function memory(config: Config, machine: Machine): readonly Finding[] {
  const { memoryBytes } = cgroupLimits(machine)
  const heap = machine.heapLimitBytes
  const { inFlight } = needsOf(config)
  const needFor = (each: number): number => BASE_BYTES + inFlight * each + config.log.bufferBytes
  const sumFor = (each: number): string =>
    `about ${formatMib(BASE_BYTES)} + ${inFlight} in flight x ${formatSize(each)} + log.buffer ${formatSize(config.log.bufferBytes)} = ${formatMib(needFor(each))} may be needed`
  const least = sumFor(PER_EXCHANGE_BYTES)
  if (memoryBytes === null) {
    return [ok('memory', `no limit of a control group; V8's heap may take ${formatMib(heap)}, and ${least}`)]
  }
  const is = `the control group allows ${formatMib(memoryBytes)}`
  const wanted = Math.ceil((needFor(PER_UPLOAD_BYTES) * 1.25) / MIB)
  const mend = `memory: ${wanted}Mi (Kubernetes, of the container: resources.limits), MemoryMax=${wanted}M (systemd), or a smaller limits.in_flight`
  if (needFor(PER_EXCHANGE_BYTES) > memoryBytes) {
    return [error('memory', is, `${least}: the kernel kills the process before that (exit code 137)`, mend)]
  }
  const findings: Finding[] = []
  if (needFor(PER_UPLOAD_BYTES) > memoryBytes) {
    const means = `where many of the requests are uploads, ${sumFor(PER_UPLOAD_BYTES)}: the kernel kills the process before that (exit code 137)`
    findings.push(warning('memory', is, means, mend))
  }
  if (heap > memoryBytes * HEAP_SHARE) {
    const fitting = Math.max(64, Math.floor((memoryBytes * HEAP_SHARE) / MIB))
    findings.push(
      warning(
        'memory',
        `${is}, and V8's heap may grow to ${formatMib(heap)}`,
        'V8 sees no need to collect garbage before the kernel kills the process (exit code 137)',
        `NODE_OPTIONS=--max-old-space-size=${fitting}`,
      ),
    )
  }
  return findings.length > 0 ? findings : [ok('memory', `${is}, V8's heap ${formatMib(heap)}; ${least}`)]
}

function formatMib(bytes: number): string {
  return `${Math.ceil(bytes / MIB)}MiB`
}

export function cpu(_config: Config, machine: Machine): readonly Finding[] {
  const quota = cgroupLimits(machine).cpus
  const cpus = quota ?? machine.cpus
  if (quota !== null && quota < 1) {
    return [
      warning(
        'cpu',
        `the control group allows ${quota} CPUs`,
        `when that is used up the process stands still, for up to ${Math.round((1 - quota) * 100)} ms of every 100: every timeout and every answer is late by it`,
        'cpu: "1" (Kubernetes, of the container: resources.requests, and no limit), CPUQuota=100% (systemd)',
      ),
    ]
  }
  if (quota !== null && quota > 2) {
    return [
      note(
        'cpu',
        `the control group allows ${quota} CPUs`,
        'one process uses one, and a part of a second for garbage collection and DNS',
        'more replicas with 1 CPU each',
      ),
    ]
  }
  return [ok('cpu', quota === null ? `${cpus} CPUs, no quota` : `the control group allows ${quota} CPUs`)]
}

/** libuv: UV_THREADPOOL_SIZE, 4 where it is not set. */
const THREADS = 4

/** libuv lets slow work, which DNS is, take half of the threads and no more (uv__work_kind, src/threadpool.c). */
export function threadpool(config: Config, machine: Machine): readonly Finding[] {
  const asked = Number(machine.env['UV_THREADPOOL_SIZE'] ?? THREADS)
  const threads = Number.isInteger(asked) && asked >= 1 ? Math.min(asked, 1024) : THREADS
  const lookups = Math.floor((threads + 1) / 2)
  const names = new Set(
    config.upstreams
      .flatMap(({ endpoints }) => endpoints.map(({ hostname }) => hostname))
      .filter(name => isIP(name) === 0),
  )
  const is = `${threads} threads (UV_THREADPOOL_SIZE), of which DNS may take ${lookups}`
  if (names.size <= lookups) return [ok('threadpool', `${is}; ${names.size} names to resolve`)]
  return [
    warning(
      'threadpool',
      `${is}, for ${names.size} names to resolve`,
      'while the resolver is slow for some names, connections to all others wait for their turn: connect_timeout, stage dns',
      `UV_THREADPOOL_SIZE=${Math.max(2 * names.size, 8)} in the environment of the process`,
    ),
  ]
}

/** Read by a load from memory that the kernel maps into the process; any other is a system call, and a slow one. */
const FAST_CLOCKS = [
  'tsc',
  'kvm-clock',
  'arch_sys_counter',
  'hyperv_clocksource_tsc_page',
  'hyperv_clocksource',
  'timebase',
  'tod',
]

export function clock(_config: Config, machine: Machine): readonly Finding[] {
  const folder = '/sys/devices/system/clocksource/clocksource0'
  const source = machine.read(`${folder}/current_clocksource`)
  if (source === null) return []
  if (FAST_CLOCKS.includes(source)) return [ok('clock', `the clock is ${source}`)]
  const others = (machine.read(`${folder}/available_clocksource`) ?? '').split(/\s+/)
  const better = FAST_CLOCKS.find(fast => others.includes(fast))
  return [
    warning(
      'clock',
      `the clock is ${source}`,
      'each look at it is a system call of about 1 us, and a request takes a dozen',
      better === undefined
        ? 'no faster one is to be had here (available_clocksource): another type of machine'
        : `echo ${better} > ${folder}/current_clocksource`,
    ),
  ]
}
