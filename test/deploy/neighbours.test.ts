/** The systemd unit and nginx's configuration: each asked of its own program, and compared with hopgate's. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { program, text, without } from './files.ts'
import { nginxValue } from './nginx.ts'

const UNIT = 'deploy/systemd/hopgate.service'
const FRONT = 'deploy/nginx/hopgate.conf'
const UPSTREAMS = ['deploy/nginx/hopgate-upstream.conf', 'deploy/compose/nginx-upstream.conf']

/** The built-in values, which is what nginx/hopgate.conf and the unit are written for. */
const builtIn = (() => {
  const yaml =
    'upstreams: { a: { endpoints: ["http://127.0.0.1:1"] } }\nroutes: [{ name: a, match: { path_prefix: / }, upstream: a }]'
  const result = parseConfig(yaml, { env: {}, baseDir: '.' })
  assert.ok(result.ok)
  return result.config
})()
const [route = assert.fail()] = builtIn.routes

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-deploy-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

function unitValue(key: string): string {
  const [, value] = new RegExp(`^${key}=(.*)$`, 'm').exec(text(UNIT)) ?? []
  return value ?? assert.fail(`no ${key}`)
}

test('systemd takes the unit, and counts little that it may do', { skip: without('systemd-analyze', 'systemd') }, t => {
  const folder = folderOf(t)
  const unit = join(folder, basename(UNIT))
  const node = program('node')
  // verify looks for the programs; this machine's node may be elsewhere than the server's.
  writeFileSync(unit, text(UNIT).replaceAll('/usr/bin/node', node ?? process.execPath))
  const analyze = program('systemd-analyze') as string
  const verify = spawnSync(analyze, ['verify', unit], { encoding: 'utf8', timeout: 60_000 })
  const ours = verify.stderr.split('\n').filter(line => line.includes('hopgate.service'))
  assert.deepEqual([verify.status, ours], [0, []], verify.stderr)
  const security = spawnSync(analyze, ['security', '--offline=yes', '--threshold=20', unit], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  if (/unrecognized option|Unknown option/.test(security.stderr))
    return t.diagnostic('SKIPPED: this systemd-analyze has no --offline')
  assert.equal(security.status, 0, security.stdout.split('\n').slice(-2).join(' '))
})

test('the unit gives a drain its time, does not start what is wrong, and leaves V8 and the socket table alone', () => {
  assert.ok(Number(unitValue('TimeoutStopSec')) > (builtIn.drain.delayMs + builtIn.drain.deadlineMs) / 1000 + 1)
  assert.equal(unitValue('RestartPreventExitStatus'), '78')
  assert.match(unitValue('ExecReload'), /-HUP/)
  const commands = [...text(UNIT).matchAll(/^Exec(?:StartPre|Start)=\/usr\/bin\/node dist\/cli\.js (\w+) -c (\S+)$/gm)]
  assert.deepEqual(
    commands.map(([, command, file]) => `${command} ${file}`),
    ['check', 'lint', 'run'].map(command => `${command} /etc/hopgate/hopgate.yaml`),
  )
  assert.doesNotMatch(text(UNIT), /^(MemoryDenyWriteExecute|ProcSubset)=/m)
})

for (const upstream of UPSTREAMS) {
  test(`nginx takes ${FRONT} with ${upstream}`, { skip: without('nginx', 'apt-get install nginx-light') }, t => {
    const folder = folderOf(t)
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      name => `${name}_temp_path ${folder}/${name};`,
    )
    // It resolves names and opens its logs when it is asked: here by numbers, and in this folder.
    const server = text(FRONT)
      .replaceAll('/var/log/nginx/', `${folder}/`)
      .replace('listen 80 ', 'listen 127.0.0.1:8099 ')
    writeFileSync(
      join(folder, 'nginx.conf'),
      `pid ${folder}/pid; error_log stderr; events {}
      http { ${temporary.join(' ')} ${text(upstream).replace('server hopgate:', 'server 127.0.0.1:')} ${server} }`,
    )
    const nginx = program('nginx') as string
    const said = spawnSync(nginx, ['-t', '-p', folder, '-c', join(folder, 'nginx.conf')], {
      encoding: 'utf8',
      timeout: 30_000,
    })
    assert.equal(said.status, 0, said.stderr)
    assert.doesNotMatch(said.stderr, /\[warn\]/)
  })
}

test("nginx waits longer than hopgate's deadlines, and closes idle connections before hopgate does", () => {
  const late = (ms: number): number => (ms + Math.max(50, ms * 0.02) + 200) / 1000
  assert.ok(nginxValue(FRONT, 'proxy_read_timeout') > late(route.timeouts.request.value))
  assert.ok(nginxValue(FRONT, 'proxy_send_timeout') > late(builtIn.listen.timeouts.bodyIdle.value))
  const streams = text(FRONT).slice(text(FRONT).indexOf('location /events'))
  const [, streamSeconds] = /proxy_read_timeout (\d+)s;/.exec(streams) ?? []
  assert.ok(Number(streamSeconds) > late(5 * 60_000), 'longer than the body_idle of a streaming route')
  for (const upstream of UPSTREAMS) {
    assert.ok(nginxValue(upstream, 'keepalive_timeout') + 1 < builtIn.listen.timeouts.keepalive.value / 1000)
  }
})

test('the values that the comment in the nginx configuration compares are those of both sides', () => {
  const ms = (value: number): string => `${value / 1000}s`
  const stated = text(FRONT)
  for (const [directive, partner] of [
    ['proxy_read_timeout', `timeouts.request ${ms(route.timeouts.request.value)}`],
    ['proxy_send_timeout', `listen.timeouts.body_idle ${ms(builtIn.listen.timeouts.bodyIdle.value)}`],
    ['keepalive_timeout', `listen.timeouts.keepalive ${ms(builtIn.listen.timeouts.keepalive.value)}`],
  ] as const) {
    const row = stated.split('\n').find(line => line.startsWith(`#   ${directive}`)) ?? ''
    assert.ok(row.includes(partner), `${directive}: ${partner}`)
  }
  for (const directive of ['proxy_read_timeout', 'proxy_send_timeout']) {
    assert.ok(stated.includes(`#   ${directive} ${nginxValue(FRONT, directive)}s`), directive)
  }
  assert.match(stated, /client_max_body_size 10m;/)
  assert.equal(route.limits.bodyBytes.value, 10 * 1024 * 1024)
})
