/** The demo keeps its word: every command it prints is run as printed, and what it says will be seen is looked for. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { renderThingsToTry, type Seen, thingsToTry } from '../src/demo/things-to-try.ts'
import { type AccessLine, sumOf } from './support/gateway.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const PATIENCE_MS = 10_000

interface Demo {
  readonly child: ChildProcess
  readonly gatewayUrl: string
  readonly adminUrl: string
  /** What was printed before the log. */
  readonly page: string
  readonly lines: readonly AccessLine[]
}

interface Started {
  readonly child: ChildProcess
  output(): string
  errors(): string
}

function spawnDemo(portPrefix: number): Started {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli.ts', 'demo'], {
    cwd: root,
    env: {
      ...process.env,
      HOPGATE_DEMO_PORT: '0',
      HOPGATE_DEMO_ADMIN_PORT: '0',
      HOPGATE_DEMO_BACKENDS: String(portPrefix),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  return { child, output: () => output, errors: () => errors }
}

/** Below the ports that the kernel gives away; where some of them are taken, the next hundred. */
const firstPrefix = 110 + (process.pid % 150)

async function startDemo(): Promise<Demo> {
  for (let prefix = firstPrefix; prefix < firstPrefix + 20; prefix++) {
    const { child, output, errors } = spawnDemo(prefix)
    const exited = once(child, 'exit')
    await Promise.race([exited, until('the demo listens', () => output().includes('admin listening'))])
    if (child.exitCode !== null) {
      assert.match(errors(), /the port is taken/)
      continue
    }
    const page = output().slice(0, output().indexOf('{"'))
    const [, gatewayUrl = '', adminUrl = ''] = /gateway at (\S+), its admin pages at (\S+)\n/.exec(page) ?? []
    return {
      child,
      gatewayUrl,
      adminUrl,
      page,
      get lines() {
        return output()
          .slice(page.length)
          .split('\n')
          .filter(line => line.startsWith('{') && line.endsWith('}'))
          .map(line => JSON.parse(line) as AccessLine)
          .filter(line => line['msg'] === 'request')
      },
    }
  }
  return assert.fail('no free ports')
}

let demo: Demo
before(async () => {
  demo = await startDemo()
})
after(() => {
  demo?.child.kill('SIGKILL')
})

test('the page lists everything there is to try, before the first line of the log', () => {
  assert.equal(demo.page, renderThingsToTry(demo.gatewayUrl, demo.adminUrl))
})

for (const { shows, command, curlExit, log, metric, by } of thingsToTry) {
  test(`as printed: ${shows}`, async () => {
    const { gatewayUrl } = demo
    const seenBefore = demo.lines.length
    const countBefore = await count(metric)
    const { code, stdout } = await shell(command.replaceAll('GATEWAY', gatewayUrl))
    assert.equal(code, curlExit, stdout)
    await until(`${log.length} access lines`, () => demo.lines.length >= seenBefore + log.length)
    assert.deepEqual(demo.lines.slice(seenBefore).map(seen).sort(), log.map(seen).sort())
    for (const line of demo.lines.slice(seenBefore)) assert.equal(typeof line['t_total'], 'number')
    for (const { attempts } of log) {
      if (attempts !== undefined) assert.ok(demo.lines.slice(seenBefore).some(line => line['attempts'] === attempts))
    }
    assert.equal((await count(metric)) - countBefore, by, metric)
    if (command.includes('curl -i')) {
      const statuses = [...stdout.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
      assert.ok(log.some(({ status }) => status === statuses.at(-1)))
    }
  })
}

test('when all of it was tried: the books are balanced, nothing is in flight, and the pages say what fired', async () => {
  const metrics = await text('/metrics')
  for (const ledger of ['requests', 'slots', 'timers']) {
    assert.equal(sumOf(metrics, 'hopgate_accounting_imbalance', { ledger }), 0, ledger)
  }
  assert.deepEqual(JSON.parse(await text('/-/inflight')), [])
  const routes = JSON.parse(await text('/-/routes')) as { name: string; timeouts: { name: string; fired: number }[] }[]
  const hang = routes.find(({ name }) => name === 'hang')?.timeouts.find(({ name }) => name === 'response_headers')
  assert.equal(hang?.fired, 1)
  assert.equal((JSON.parse(await text('/-/upstreams')) as unknown[]).length, 14)
})

test('SIGINT: readyz is red while it drains, and the demo ends within 2 s with code 0', async () => {
  assert.equal((await fetch(`${demo.adminUrl}/readyz`)).status, 200)
  const exited = once(demo.child, 'exit')
  const from = performance.now()
  demo.child.kill('SIGINT')
  let sawRed = false
  while (!sawRed && demo.child.exitCode === null) {
    sawRed = await fetch(`${demo.adminUrl}/readyz`).then(
      response => response.status === 503,
      () => false,
    )
  }
  assert.ok(sawRed)
  assert.deepEqual(await exited, [0, null])
  assert.ok(performance.now() - from < 2000)
})

test('a port that is taken: one line that names it, and exit 1', async t => {
  const holder = createServer()
  const prefix = firstPrefix + 30
  holder.listen(Number(`${prefix}05`), '127.0.0.1')
  await once(holder, 'listening')
  t.after(() => holder.close())
  const { child, errors } = spawnDemo(prefix)
  const [code] = await once(child, 'exit')
  assert.equal(code, 1)
  assert.equal(
    errors(),
    `hopgate demo: the backend "drip" cannot listen at http://127.0.0.1:${prefix}05: the port is taken\n`,
  )
})

function seen({ status, outcome, stage }: Seen | AccessLine): string {
  return `${status} ${outcome} ${stage ?? '-'}`
}

async function text(path: string): Promise<string> {
  return (await fetch(demo.adminUrl + path)).text()
}

/** `name{label="value",...}` */
async function count(metric: string): Promise<number> {
  const [, name = '', labels = ''] = /^(\w+)\{(.*)\}$/.exec(metric) ?? []
  const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value])
  return sumOf(await text('/metrics'), name, Object.fromEntries(pairs))
}

function shell(command: string): Promise<{ code: number; stdout: string }> {
  return new Promise(resolve => {
    execFile('bash', ['-c', command], { timeout: PATIENCE_MS }, (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout })
    })
  })
}

async function until(what: string, reached: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!reached()) {
    assert.ok(performance.now() < deadline, `waited in vain: ${what}`)
    await delay(10)
  }
}
