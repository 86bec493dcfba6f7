/**
 * What deploy/compose shows, without containers: the same configuration, nginx, backends, log reader and traffic script, as
 * processes on loopback ports. Each of the five incidents has to happen, to be counted as what it is, and to end.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { program, root, text, without } from './files.ts'

const PATIENCE_MS = 20_000
const CALLERS = 130
const CONNECTIONS = 200
const SERVICES = join(root, 'deploy/compose/services')

interface Running {
  readonly child: ChildProcess
  readonly output: () => string
}

/** Ends with the test; what it wrote is in the failure of whoever waits for it. */
function start(
  t: TestContext,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Running {
  const child = spawn(command, args, {
    cwd: root,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-10_000)
    })
  }
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  return { child, output: () => said }
}

async function freePorts(n: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: n }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(done => server.close(done))))
  return ports
}

async function until(what: string, holds: () => Promise<boolean>, whose: readonly Running[] = []): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  while (!(await holds().catch(() => false))) {
    const why = whose.map(({ output }) => output()).join('\n')
    if (performance.now() > end) assert.fail(`${what}: not within ${PATIENCE_MS} ms\n${why}`)
    await delay(50)
  }
}

const answers = (url: string) => async (): Promise<boolean> => (await fetch(url)).status < 500

function nginxConfig(folder: string, front: number, gateway: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `${name}_temp_path ${folder}/${name};`,
  )
  const server = text('deploy/nginx/hopgate.conf')
    .replaceAll('/var/log/nginx/', `${folder}/`)
    .replace('listen 80 ', `listen 127.0.0.1:${front} `)
  const upstream = text('deploy/compose/nginx-upstream.conf').replace('hopgate:8080', `127.0.0.1:${gateway}`)
  return `daemon off; master_process off; pid ${folder}/pid; error_log stderr; events { worker_connections 1024; }
    http { ${temporary.join(' ')} ${upstream} ${server} }`
}

test('the five incidents of the compose scenario happen, are called by their names, and pass', {
  skip: without('nginx', 'apt-get install nginx-light') || without('mkfifo', 'coreutils'),
}, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-scenario-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const ports = await freePorts(8)
  const [
    front = 0,
    gateway = 0,
    admin = 0,
    orders = 0,
    ordersControl = 0,
    reports = 0,
    reportsControl = 0,
    reader = 0,
  ] = ports
  const local = (port: number): string => `http://127.0.0.1:${port}`
  const service = (name: string, port: number, control: number): Running =>
    start(t, process.execPath, [join(SERVICES, 'flaky.mjs')], {
      NAME: name,
      HOST: '127.0.0.1',
      PORT: String(port),
      CONTROL_PORT: String(control),
    })
  const fifo = join(folder, 'log')
  const logreader = start(t, process.execPath, [join(SERVICES, 'logreader.mjs')], {
    FIFO: fifo,
    HOST: '127.0.0.1',
    CONTROL_PORT: String(reader),
  })
  const backends = [service('orders', orders, ordersControl), service('reports', reports, reportsControl), logreader]
  for (const control of [ordersControl, reportsControl, reader])
    await until('controls', answers(local(control)), backends)

  // What the neighbours do and what is promised changes nothing in a running gateway.
  const config = join(folder, 'hopgate.yaml')
  writeFileSync(
    config,
    text('deploy/compose/hopgate.yaml')
      .replace(/^neighbours:.*/ms, '')
      .replaceAll(/^ +slo:.*\n/gm, ''),
  )
  const hopgate = start(t, process.execPath, ['--import', 'tsx', 'src/cli.ts', 'run', '-c', config], {
    LISTEN_ADDRESS: `127.0.0.1:${gateway}`,
    ADMIN_ADDRESS: `127.0.0.1:${admin}`,
    LOG_DESTINATION: fifo,
    ORDERS_URL: local(orders),
    REPORTS_URL: local(reports),
  })
  await until('hopgate is ready', answers(`${local(admin)}/readyz`), [hopgate])
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(folder, front, gateway))
  const nginx = start(t, program('nginx') as string, ['-p', folder, '-c', join(folder, 'nginx.conf')], {})
  await until('nginx serves', answers(`${local(front)}/orders/0`), [nginx, hopgate])

  const perform = async (name: string): Promise<string> => {
    const traffic = start(t, process.execPath, [join(SERVICES, 'traffic.mjs'), name], {
      FRONT: local(front),
      GATEWAY: local(gateway),
      ORDERS_CONTROL: local(ordersControl),
      REPORTS_CONTROL: local(reportsControl),
      LOGREADER_CONTROL: local(reader),
      INCIDENT_SECONDS: '1',
      CALLERS: String(CALLERS),
      CONNECTIONS: String(CONNECTIONS),
    })
    const [code] = (await once(traffic.child, 'exit')) as [number | null]
    assert.equal(code, 0, `${name}: ${traffic.output()}\n${hopgate.output()}`)
    t.diagnostic(traffic.output().trim().replaceAll('\n', ' '))
    // Whoever is not concerned does not notice.
    assert.match(traffic.output(), /meanwhile: \d+ x 200$/m, name)
    return /callers saw: (.*)/.exec(traffic.output())?.[1] ?? ''
  }
  /** The sum of the samples whose line has all of these. */
  const metric = async (...parts: readonly string[]): Promise<number> => {
    const page = await (await fetch(`${local(admin)}/metrics`)).text()
    return page
      .split('\n')
      .filter(line => !line.startsWith('#') && parts.every(part => line.includes(part)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }
  const counted = async (what: string, ...parts: readonly string[]): Promise<void> =>
    until(`${what}: ${parts.join(' ')}`, async () => (await metric(...parts)) > 0, [hopgate])

  assert.match(await perform('broken-pipe'), /^\d+ x left$/)
  await counted('broken pipe', 'hopgate_failures_total', 'route="reports"', 'outcome="client_abort"', 'party="client"')

  assert.match(await perform('played-dead'), /^\d+ x 200$/, 'a log that nobody reads stops no request')
  assert.ok((await metric('hopgate_log_dropped_total', 'class="access"')) > 0)
  await until('the log is written again', async () => (await metric('hopgate_log_sink_up')) === 1)

  const storm = await perform('timeout-storm')
  assert.match(storm, / x 504/)
  assert.match(storm, / x 503/)
  await counted('storm', 'hopgate_timeouts_total', 'route="orders"', 'timeout="response_headers"')
  await counted('storm', 'hopgate_failures_total', 'route="orders"', 'outcome="queue_', 'party="gateway"')
  await until('orders is well', answers(`${local(front)}/orders/0`))

  assert.match(await perform('close-wait'), / x left/)
  await counted('close wait', 'hopgate_failures_total', 'route="orders"', 'outcome="client_abort"')
  await until('nothing is left of it', async () => (await metric('hopgate_inflight_requests')) === 0)
  assert.equal(await metric('hopgate_accounting_imbalance'), 0)

  assert.match(await perform('accept-queue'), /^\d+ x 404$/, 'all are let in, and answered')
})
