/** The command line: what each ending is called. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import { slack } from '../upstream/support.ts'
import { runCli, startProcess, writeConfig } from './process.ts'

const minimal = (port: number): string => `
listen: { address: "127.0.0.1:${port}" }
admin: { address: "127.0.0.1:0" }
upstreams: { up: { endpoints: ["http://127.0.0.1:1"] } }
routes: [{ name: r, match: { path_prefix: / }, upstream: up }]
`

describe('the command line', { concurrency: 2 }, () => {
  test('--help says how it is used, and --version its version: both 0', async t => {
    const help = await runCli(t, ['--help'])
    assert.equal(help.code, 0)
    for (const word of ['run', 'check', 'demo', '-c, --config', '78']) assert.ok(help.stdout.includes(word), word)
    const version = await runCli(t, ['--version'])
    assert.deepEqual([version.code, /^\d+\.\d+\.\d+\n$/.test(version.stdout), version.stderr], [0, true, ''])
  })

  for (const args of [[], ['fly'], ['run', 'twice', '-c', 'x'], ['run', '--fast']]) {
    test(`hopgate ${args.join(' ')}: not a way to use it: not 0, and the usage on stderr`, async t => {
      const { code, stdout, stderr } = await runCli(t, args)
      assert.notEqual(code, 0)
      assert.equal(stdout, '')
      assert.match(stderr, /hopgate run +-c FILE/)
    })
  }

  for (const command of ['run', 'check']) {
    test(`${command} with a bad configuration: 78, and every error on stderr, one a line`, async t => {
      const yaml = `
listen: { address: "127.0.0.1:0", backlog: many }
defaults: { timeouts: { connect: 0, request: soon } }
upstreams: { up: { endpoints: ["http://127.0.0.1:1"] } }
routes: [{ name: r, match: { path_prefix: / }, upstream: down, retry: {} }]
`
      const { code, stdout, stderr } = await runCli(t, [command, '-c', writeConfig(t, yaml)])
      assert.deepEqual([code, stdout], [78, ''])
      const paths = ['listen.backlog', 'defaults.timeouts.connect', 'defaults.timeouts.request', 'routes[0]']
      for (const path of paths) assert.ok(stderr.includes(path), `${path} in:\n${stderr}`)
      assert.equal(stderr.trimEnd().split('\n').length, 5, stderr)
    })

    test(`${command} with a configuration that is not there: 78, and its name on stderr`, async t => {
      const { code, stderr } = await runCli(t, [command, '-c', '/nowhere/hopgate.yaml'])
      assert.equal(code, 78)
      assert.match(stderr, /nowhere\/hopgate\.yaml/)
    })
  }

  test('run on a port that is taken: 1, and the reason in one line on stderr', async t => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    t.after(() => taken.close())
    const config = writeConfig(t, minimal((taken.address() as { port: number }).port))
    const { code, stderr } = await runCli(t, ['run', '-c', config])
    assert.equal(code, 1)
    assert.match(stderr, /^hopgate: cannot start: .*EADDRINUSE[^\n]*\n$/)
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} with nothing in flight: 0 after drain.delay`, async t => {
      const gw = await startProcess(t, { upstream: 'http://127.0.0.1:1', drain: '{ delay: 300ms, deadline: 5s }' })
      const sentAt = performance.now()
      gw.signal(signal)
      const { code, at } = await gw.exited
      assert.equal(code, 0)
      assert.ok(at - sentAt >= 300 && at - sentAt < slack(2000), `${at - sentAt} ms`)
    })
  }
})
