/** Each examination on a machine whose values are planted: what it calls an error, a warning, fine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { parseConfig } from '../../src/config/load.ts'
import { examine, examineAll, renderFindings } from '../../src/doctor/doctor.ts'
import type { Machine } from '../../src/doctor/machine.ts'

const MIB = 2 ** 20

/** Where nothing is wrong. */
const HEALTHY: Readonly<Record<string, string>> = {
  '/proc/sys/net/core/somaxconn': '4096',
  '/proc/sys/net/ipv4/tcp_max_syn_backlog': '2048',
  '/proc/sys/net/ipv4/tcp_syncookies': '1',
  '/proc/sys/net/ipv4/tcp_abort_on_overflow': '0',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999',
  '/proc/self/limits':
    'Max processes 1 1 processes\nMax open files            65536                65536                files',
  '/proc/self/cgroup': '0::/',
  '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'tsc',
}

interface Planted extends Partial<Omit<Machine, 'read'>> {
  /** Over the healthy ones; null: no such file. */
  readonly files?: Readonly<Record<string, string | null>>
}

function machine({ files = {}, ...rest }: Planted = {}): Machine {
  return {
    platform: 'linux',
    env: {},
    read: path => (Object.hasOwn(files, path) ? (files[path] ?? null) : (HEALTHY[path] ?? null)),
    output: () => 'pipe',
    isFolder: () => true,
    heapLimitBytes: 512 * MIB,
    cpus: 2,
    resolve: () => Promise.resolve(['10.0.0.7']),
    dial: () => Promise.resolve(),
    ...rest,
  }
}

function config(more = '', endpoints = '"http://10.0.0.7:3001"', upstream = ''): Config {
  const text = `
upstreams: { up: { endpoints: [${endpoints}], ${upstream} } }
routes: [{ name: r, match: { path_prefix: / }, upstream: up, timeouts: { connect: 500ms } }]
${more}
`
  const result = parseConfig(text, { env: {}, baseDir: '/' })
  assert.ok(result.ok, JSON.stringify(result))
  return result.config
}

/** `level: what is` of one examination, each. */
function said(check: string, planted: Planted = {}, of: Config = config()): readonly string[] {
  return examine(of, machine(planted))
    .filter(finding => finding.check === check)
    .map(({ level, is }) => `${level}: ${is}`)
}

/** Its finding, which is to be one, with this level and something that mends it. */
function found(level: string, check: string, planted: Planted, of?: Config): { means: string; mend: string } {
  const all = examine(of ?? config(), machine(planted)).filter(finding => finding.check === check)
  assert.deepEqual(
    all.map(finding => finding.level),
    [level],
    check,
  )
  const [one] = all
  assert.ok(one !== undefined && one.means !== '' && (one.mend !== '' || level === 'note'), check)
  return one
}

test('a healthy machine: everything is looked at, and all is fine', () => {
  const findings = examine(config(), machine())
  assert.deepEqual(
    findings.filter(({ level }) => level !== 'ok'),
    [],
  )
  assert.deepEqual(
    findings.map(({ check }) => check),
    [
      'backlog',
      'syn_queue',
      'overflow',
      'nofile',
      'ports',
      'conntrack',
      'memory',
      'cpu',
      'clock',
      'threadpool',
      'log',
      'node_options',
    ],
  )
})

test('a machine whose files cannot be read: what is not known is not told, and nothing throws', () => {
  const nothing = Object.fromEntries(Object.keys(HEALTHY).map(path => [path, null]))
  const garbage = Object.fromEntries(Object.keys(HEALTHY).map(path => [path, 'max of \u0000 -7 nothing']))
  for (const files of [nothing, garbage]) {
    const findings = examine(config(), machine({ files }))
    assert.deepEqual(
      findings.filter(({ level }) => level === 'error'),
      [],
      JSON.stringify(findings),
    )
  }
})

test('backlog: what is configured against net.core.somaxconn', () => {
  const somaxconn = (value: string) => ({ files: { '/proc/sys/net/core/somaxconn': value } })
  const { mend } = found('error', 'backlog', somaxconn('128'))
  assert.match(mend, /^sysctl -w net\.core\.somaxconn=4096 .*or listen\.backlog: 128$/)
  assert.deepEqual(said('backlog', somaxconn('128'), config('listen: { backlog: 128 }'))[0]?.slice(0, 3), 'ok:')
  found('error', 'backlog', {}, config('listen: { backlog: 4097 }'))
})

test('syn_queue: only where syncookies do not help', () => {
  const off = { '/proc/sys/net/ipv4/tcp_syncookies': '0' }
  assert.match(
    found('warning', 'syn_queue', { files: off }).mend,
    /tcp_syncookies=1 net\.ipv4\.tcp_max_syn_backlog=4096/,
  )
  assert.match(said('syn_queue', { files: { ...off, '/proc/sys/net/ipv4/tcp_max_syn_backlog': '4096' } }).join(), /^ok/)
})

test('overflow: a RST in place of patience', () => {
  const { mend } = found('warning', 'overflow', { files: { '/proc/sys/net/ipv4/tcp_abort_on_overflow': '1' } })
  assert.equal(mend, 'sysctl -w net.ipv4.tcp_abort_on_overflow=0')
})

test('nofile: 2 x in_flight + pools + 100, and room for max_connections', () => {
  const limit = (n: string) => ({
    files: { '/proc/self/limits': `Max open files            ${n}                 ${n}                files` },
  })
  const { means, mend } = found('error', 'nofile', limit('128'))
  assert.match(means, /^2 x 1024 in flight \+ 128 pooled \+ 100 = 2276 /)
  assert.match(mend, /LimitNOFILE=16384 .*ulimit -n 16384/)
  found('error', 'nofile', limit('2275'))
  assert.match(found('warning', 'nofile', limit('2276')).mend, /or listen\.max_connections: 2048$/)
  assert.match(said('nofile', limit('10228')).join(), /^ok: 10228 files/)
  assert.match(said('nofile', limit('unlimited')).join(), /^ok: any number of files/)
  const few = config('listen: { max_connections: 10 }')
  assert.match(found('error', 'nofile', limit('200'), few).means, /^2 x 10 in flight/)
})

test('ports: as many as connections to one endpoint, and those in TIME_WAIT', () => {
  const range = (text: string) => ({ files: { '/proc/sys/net/ipv4/ip_local_port_range': text } })
  assert.match(
    found('error', 'ports', range('50000 50099')).means,
    /10\.0\.0\.7:3001 above that fail with EADDRNOTAVAIL/,
  )
  assert.match(
    found('warning', 'ports', range('50000 51999')).means,
    /1920 ports are in TIME_WAIT beside the 128 in use/,
  )
  assert.match(said('ports', range('50000 52047')).join(), /^ok: 2048 local ports/)
})

test('conntrack: a table that is full, one that is too small, none', () => {
  const table = (most: string, count: string) => ({
    files: { '/proc/sys/net/netfilter/nf_conntrack_max': most, '/proc/sys/net/netfilter/nf_conntrack_count': count },
  })
  assert.match(found('error', 'conntrack', table('65536', '60000')).mend, /nf_conntrack_max=131072/)
  assert.match(found('warning', 'conntrack', table('8192', '10')).mend, /nf_conntrack_max=32768/)
  assert.match(said('conntrack', table('65536', '10')).join(), /^ok: 10 of 65536/)
  assert.match(said('conntrack').join(), /^ok: connections are not tracked/)
})

test('memory: the control group, of either version and at any level, against what may be needed and the heap', () => {
  const v2 = (limit: number) => ({ files: { '/sys/fs/cgroup/memory.max': String(limit * MIB) } })
  assert.match(found('error', 'memory', v2(160)).mend, /^memory: \d+Mi .*MemoryMax=\d+M/)
  assert.deepEqual(
    said('memory', v2(200)).map(text => text.split(':')[0]),
    ['warning', 'warning'],
  )
  assert.match(
    found('warning', 'memory', { ...v2(640), heapLimitBytes: 600 * MIB }).mend,
    /=--max-old-space-size=480|=480$/,
  )
  assert.match(said('memory', v2(1024)).join(), /^ok: the control group allows 1024MiB/)
  const nested = {
    '/proc/self/cgroup': '0::/kubepods/pod1/c1',
    '/sys/fs/cgroup/kubepods/pod1/c1/memory.max': 'max',
    '/sys/fs/cgroup/kubepods/pod1/memory.max': String(100 * MIB),
  }
  found('error', 'memory', { files: nested })
  const v1 = {
    '/proc/self/cgroup': '4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
    '/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes': String(100 * MIB),
  }
  found('error', 'memory', { files: v1 })
  assert.match(said('memory').join(), /^ok: no limit of a control group/)
})

test('cpu: a quota below one CPU makes everything late, one of many is wasted', () => {
  const max = (text: string) => ({ files: { '/sys/fs/cgroup/cpu.max': text } })
  assert.match(found('warning', 'cpu', max('25000 100000')).means, /up to 75 ms of every 100/)
  found('note', 'cpu', max('400000 100000'))
  assert.match(said('cpu', max('100000 100000')).join(), /^ok: the control group allows 1 CPUs/)
  assert.match(said('cpu', max('max 100000')).join(), /^ok: 2 CPUs, no quota/)
  const v1 = { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '50000', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000' }
  found('warning', 'cpu', { files: v1 })
})

test('threadpool: more names than DNS may resolve at once', () => {
  const named = config('', '"http://a.internal", "http://b.internal", "http://c.internal", "http://10.0.0.1"')
  assert.match(found('warning', 'threadpool', {}, named).mend, /^UV_THREADPOOL_SIZE=8 /)
  assert.match(
    said('threadpool', { env: { UV_THREADPOOL_SIZE: '8' } }, named).join(),
    /^ok: 8 threads .* may take 4; 3 names/,
  )
  assert.match(said('threadpool', { env: { UV_THREADPOOL_SIZE: 'many' } }, named).join(), /^warning: 4 threads/)
})

test('log: what stdout is, and whether the folder of a file is there', () => {
  const levels = (['pipe', 'socket', 'file', 'terminal', 'null', 'other', 'closed'] as const).map(
    output => said('log', { output: () => output })[0]?.split(':')[0],
  )
  assert.deepEqual(levels, ['ok', 'ok', 'note', 'note', 'warning', 'ok', 'error'])
  const file = config('log: { destination: /var/log/hopgate/hopgate.log }')
  assert.equal(found('error', 'log', { isFolder: () => false }, file).mend, 'mkdir -p /var/log/hopgate')
  assert.match(said('log', {}, file).join(), /^ok: the log goes to the file/)
  const silent = config('log: { access: false }')
  found('note', 'log', { output: () => 'null' }, silent)
})

test('node_options: what changes how Node behaves', () => {
  const with_ = (NODE_OPTIONS: string) =>
    said('node_options', { env: { NODE_OPTIONS } }).map(text => text.split(':')[0])
  assert.deepEqual(with_('--insecure-http-parser --inspect=0.0.0.0:9229'), ['warning', 'error'])
  assert.deepEqual(with_('--inspect --require ./apm.js --prof'), ['warning', 'note', 'warning'])
  assert.deepEqual(with_('--unhandled-rejections=none --tls-min-v1.0'), ['warning', 'warning'])
  assert.deepEqual(with_('--max-old-space-size=512 --enable-source-maps'), ['ok'])
  const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_DEBUG: 'net' }
  assert.equal(said('node_options', { env }).length, 2)
})

test('clock: one that is a system call', () => {
  const folder = '/sys/devices/system/clocksource/clocksource0'
  const files = { [`${folder}/current_clocksource`]: 'hpet', [`${folder}/available_clocksource`]: 'tsc hpet acpi_pm' }
  assert.equal(found('warning', 'clock', { files }).mend, `echo tsc > ${folder}/current_clocksource`)
})

test('elsewhere than on Linux: said, and what does not need /proc is looked at all the same', () => {
  const findings = examine(
    config(),
    machine({ platform: 'darwin', read: () => assert.fail('nothing to read') } as never),
  )
  assert.deepEqual(
    findings.map(({ check }) => check),
    ['platform', 'threadpool', 'log', 'node_options'],
  )
  assert.match(findings[0]?.is ?? '', /darwin/)
})

const named = config('', '"http://orders.internal:3001", "http://10.0.0.8:3001"')
const failing = (code: string) => () => Promise.reject(Object.assign(new Error('x'), { code }))

test('dns: each name once, with its addresses, or why it has none', async () => {
  const fine = (await examineAll(named, machine(), false)).filter(({ check }) => check === 'dns')
  assert.deepEqual(
    fine.map(({ level, is }) => [level, is]),
    [['ok', 'orders.internal (upstream up) is 10.0.0.7']],
  )
  const lost = (await examineAll(named, machine({ resolve: failing('ENOTFOUND') }), false)).filter(
    ({ check }) => check === 'dns',
  )
  assert.deepEqual(
    lost.map(({ level }) => level),
    ['error'],
  )
  assert.match(`${lost[0]?.is} ${lost[0]?.means}`, /ENOTFOUND every request to up by way of it fails as dns_error$/)
  const none = (await examineAll(config(), machine(), false)).filter(({ check }) => check === 'dns')
  assert.deepEqual(
    none.map(({ level }) => level),
    ['ok'],
  )
})

test('dial: only when asked; each endpoint, within the shortest connect timeout of its routes', async () => {
  const dialled: string[] = []
  const dial: Machine['dial'] = (host, port, ms) => {
    dialled.push(`${host}:${port} ${ms}`)
    return host === '10.0.0.8'
      ? Promise.reject(Object.assign(new Error('x'), { code: 'ETIMEDOUT' }))
      : Promise.resolve()
  }
  await examineAll(named, machine({ dial }), false)
  assert.deepEqual(dialled, [])
  const findings = (await examineAll(named, machine({ dial }), true)).filter(({ check }) => check === 'dial')
  assert.deepEqual(dialled, ['orders.internal:3001 500', '10.0.0.8:3001 500'])
  assert.deepEqual(
    findings.map(({ level }) => level),
    ['ok', 'error'],
  )
  assert.match(findings[1]?.is ?? '', /no answer within 500ms \(connect\)$/)
})

test('as it is printed: the worst first, what is, what it means, what mends it', () => {
  const files = { '/proc/sys/net/core/somaxconn': '128', '/proc/sys/net/ipv4/tcp_abort_on_overflow': '1' }
  const text = renderFindings(examine(config(), machine({ files })))
  assert.match(
    text,
    /^error {4}backlog: listen\.backlog 4096 is lowered to 128 [^\n]*\n {9}means: [^\n]+\n {9}mend: {2}sysctl /,
  )
  assert.match(text, /\nwarning {2}overflow: [^\n]*\n {9}means: [^\n]+\n {9}mend: {2}sysctl [^\n]+\nok {7}/)
  assert.match(text, /\n1 error, 1 warning, 0 notes, 10 fine\n$/)
})
