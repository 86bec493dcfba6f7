/** On this very machine: `hopgate doctor` and the preflight at the start, with limits that were really lowered. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { platform } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Ended, folderOf, runCli, startProcess, writeConfig } from '../gateway/process.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const linux = platform() === 'linux' ? false : 'the limits are those of Linux'
const somaxconn = linux === false ? Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8')) : 0
/** The largest backlog that can be configured is 65535. */
const noBacklog = linux || (somaxconn >= 65_535 ? `net.core.somaxconn is ${somaxconn}: no backlog is above it` : false)

const yaml = (more = '', endpoint = 'http://127.0.0.1:1') => `
admin: { address: "127.0.0.1:0" }
listen: { address: "127.0.0.1:0" ${more} }
upstreams: { up: { endpoints: ["${endpoint}"] } }
routes: [{ name: r, match: { path_prefix: / }, upstream: up }]
`

/** hopgate, in a shell that has done this before. */
async function after(t: TestContext, before: string, args: readonly string[]): Promise<Ended> {
  const script = `${before} && exec "$0" --import tsx "$@"`
  const child = spawn('/bin/sh', ['-c', script, process.execPath, CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

test('a planted ulimit -n 128: an error, with what it means and what mends it', {
  skip: linux,
  timeout: 60_000,
}, async t => {
  const { code, stdout } = await after(t, 'ulimit -n 128', ['doctor', '-c', writeConfig(t, yaml())])
  assert.equal(code, 1)
  assert.match(
    stdout,
    /^error {4}nofile: 128 files may be open\n {9}means: 2 x 1024 in flight \+ 128 pooled \+ 100 = 2276 .*\n {9}mend: {2}LimitNOFILE=16384 /m,
  )
})

test('a planted backlog above somaxconn: an error, as JSON too', { skip: noBacklog, timeout: 60_000 }, async t => {
  const file = writeConfig(t, yaml(`, backlog: ${somaxconn + 1}`))
  const { code, stdout } = await runCli(t, ['doctor', '--json', '-c', file])
  assert.equal(code, 1)
  const report = JSON.parse(stdout)
  assert.deepEqual([report.file, report.platform], [file, platform()])
  const [backlog] = report.findings.filter(({ check }: { check: string }) => check === 'backlog')
  assert.equal(backlog.level, 'error')
  assert.equal(backlog.is, `listen.backlog ${somaxconn + 1} is lowered to ${somaxconn} by net.core.somaxconn`)
  assert.ok(backlog.mend.startsWith(`sysctl -w net.core.somaxconn=${somaxconn + 1} `))
  assert.equal(report.errors, report.findings.filter(({ level }: { level: string }) => level === 'error').length)
})

test('--dial: an endpoint that accepts and one that refuses', { timeout: 60_000 }, async t => {
  const listening = createServer().listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const { port } = listening.address() as { port: number }
  const file = writeConfig(t, yaml('', `http://127.0.0.1:${port}`))
  const open = await runCli(t, ['doctor', '--dial', '-c', file])
  assert.match(open.stdout, new RegExp(`^ok {7}dial: http://127\\.0\\.0\\.1:${port} \\(upstream up\\) accepts`, 'm'))
  await new Promise(resolve => listening.close(resolve))
  const closed = await runCli(t, ['doctor', '--dial', '-c', file])
  assert.equal(closed.code, 1)
  assert.match(closed.stdout, /^error {4}dial: .* cannot be reached: ECONNREFUSED$/m)
})

test('a bad configuration: 78, and its errors on stderr', { timeout: 60_000 }, async t => {
  const { code, stdout, stderr } = await runCli(t, ['doctor', '-c', writeConfig(t, 'routes: []')])
  assert.deepEqual([code, stdout], [78, ''])
  assert.match(stderr, /^upstreams: required/)
})

test('preflight: strict does not start where there is an error: 78, and each on a line of stderr', {
  skip: linux,
  timeout: 60_000,
}, async t => {
  const file = writeConfig(t, `${yaml()}preflight: strict\n`)
  const { code, stdout, stderr } = await after(t, 'ulimit -n 128', ['run', '-c', file])
  assert.deepEqual([code, stdout], [78, ''])
  assert.match(stderr, /^preflight: nofile: 128 files may be open; .*; LimitNOFILE=16384 [^\n]*$/m)
})

const lowered = `listen.backlog ${somaxconn + 1} is lowered to ${somaxconn} by net.core.somaxconn`

for (const preflight of ['warn', 'off'] as const) {
  test(`preflight: ${preflight}: starts all the same, and ${preflight === 'warn' ? 'logs it' : 'says nothing of it'}`, {
    skip: noBacklog,
    timeout: 60_000,
  }, async t => {
    const log = join(folderOf(t), 'log')
    const rest = `log: { destination: ${log} }\npreflight: ${preflight}`
    const gw = await startProcess(t, { upstream: 'http://127.0.0.1:1', listen: `, backlog: ${somaxconn + 1}`, rest })
    gw.signal('SIGTERM')
    assert.equal((await gw.exited).code, 0)
    assert.equal(gw.stderr(), '')
    const lines = readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    const told = lines.filter(({ preflight: check }) => check === 'backlog')
    assert.deepEqual(
      told.map(({ level, msg }) => [level, msg]),
      preflight === 'warn' ? [['error', lowered]] : [],
    )
    if (preflight === 'warn') assert.match(told[0].mend, /^sysctl -w net\.core\.somaxconn=/)
    assert.ok(lines.some(({ msg }) => msg === 'listening'))
  })
}
