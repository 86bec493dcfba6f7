/** What the gateway shows to whom. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from '../../src/commands/check.ts'
import { parseConfig } from '../../src/config/load.ts'
import { startGateway } from '../../src/gateway.ts'
import type { Line } from '../../src/observe/line-buffer.ts'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { requestOnce } from '../../src/prove/raw-client.ts'
import { startTestGateway } from '../support/gateway.ts'
import { converse } from './wire.ts'

const ADMIN = [
  '/metrics',
  '/healthz',
  '/readyz',
  '/-/inflight',
  '/-/routes',
  '/-/upstreams',
  '/-/stuck',
  '/-/effective',
]

test('the admin pages are not on the public listener, under any Host or path', async t => {
  const upstream = await startUpstream(answer({ body: 'upstream' }))
  t.after(() => upstream.close())
  const gateway = await startTestGateway(t, {
    upstreams: `  up: { endpoints: ["${upstream.url}"] }`,
    routes: '  - { name: r, match: { path_prefix: /app }, upstream: up }',
  })
  const admin = `127.0.0.1:${gateway.gateway.adminAddress.port}`
  for (const host of ['a.example', 'localhost', '127.0.0.1', admin]) {
    for (const path of ADMIN) {
      for (const target of [
        path,
        `//${path.slice(1)}`,
        `/app/..${path}`,
        `/app/%2e%2e${path}`,
        `http://${host}${path}`,
      ]) {
        const bytes = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
        const { text } = await converse(gateway.port, Buffer.from(bytes))
        assert.match(text, /^HTTP\/1\.1 40[04] /, `${host} ${target}`)
        assert.doesNotMatch(text, /hopgate_requests_total|"upstream"/)
      }
    }
  }
  assert.equal(upstream.requests.length, 0)
})

const SECRET = 'hunter2-not-to-be-shown'
const YAML = (endpoint: string): string => `listen: { address: "127.0.0.1:0" }
admin: { address: "127.0.0.1:0" }
upstreams:
  up: { endpoints: ["${endpoint}"] }
routes:
  - name: r
    match: { path_prefix: / }
    upstream: up
    request_headers: { set: { Authorization: "Bearer \${TOKEN}" } }
`

test('a secret from the environment reaches the upstream, and neither check nor an admin page nor the log', async t => {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const parsed = parseConfig(YAML(upstream.url), { env: { TOKEN: SECRET }, baseDir: '/' })
  assert.ok(parsed.ok)
  const written: string[] = []
  const nothing = { access: 0, event: 0 }
  const gateway = await startGateway({
    config: parsed.config,
    version: 'test',
    sink: {
      write: (line: string) => written.push(line),
      writeAccess: (line: Line) => written.push(String(line)),
      written: nothing,
      dropped: nothing,
      up: true,
      bufferedBytes: 0,
    },
  })
  t.after(async () => {
    gateway.cut()
    await gateway.close()
  })
  await requestOnce(gateway.address.port)
  assert.equal((await upstream.nextRequest()).header('authorization'), `Bearer ${SECRET}`)
  for (const path of ADMIN)
    written.push(await (await fetch(`http://127.0.0.1:${gateway.adminAddress.port}${path}`)).text())

  const folder = mkdtempSync(join(tmpdir(), 'hopgate-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const out = { write: (text: string) => written.push(text) }
  for (const [yaml, code] of [
    [YAML(upstream.url), 0],
    // A value that is wrong because of what the environment put into it.
    [YAML(upstream.url).replace(/"Bearer .*"/, '"$${TOKEN}\\u0001"'), 78],
  ] as const) {
    const file = join(folder, 'c.yaml')
    writeFileSync(file, yaml)
    assert.equal(check({ file }, { stdout: out, stderr: out, env: { TOKEN: SECRET } }), code, yaml)
  }
  assert.ok(written.length >= 9)
  for (const text of written) assert.ok(!text.includes(SECRET), text.slice(0, 300))
})
