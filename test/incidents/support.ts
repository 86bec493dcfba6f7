/** Both sides of an incident as processes of their own, and what their kernel says of them. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { within } from '../../src/prove/awaiting.ts'
import type { LogFault } from '../../src/prove/faults.ts'
import { type LogReader, spawnWithLog } from '../../src/prove/log-faults.ts'
import { openClient, requestOnce } from '../../src/prove/raw-client.ts'
import { readSocketTable } from '../../src/prove/socket-table.ts'
import { folderOf, writeConfig } from '../gateway/process.ts'
import { sumOf } from '../support/gateway.ts'
import { freePorts } from './ports.ts'

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const CLI = here('../../src/cli.ts')
const NAIVE = here('./naive-gateway.ts')
/** NODE_OPTIONS with which SIGUSR2 holds the event loop for a second. */
const HOLD = `--import ${here('./hold.mjs')}`

export interface Circumstances {
  /** How the naive gateway logs; default: pino as Fastify sets it up. */
  readonly pino?: 'sync'
  /** What befalls its standard output; default: nothing, it goes to /dev/null. */
  readonly log?: LogFault
  /** `ulimit -n` of the process. */
  readonly descriptors?: number
  /** Connections that the naive gateway may have to its upstream; default: undici's 128. */
  readonly connections?: number
  /** Its event loop can be held by SIGUSR2. */
  readonly holdable?: boolean
}

export interface Process {
  readonly child: ChildProcess
  readonly port: number
  readonly stderr: () => string
  /** Resolves when its stderr has this. */
  says(text: string): Promise<void>
  readonly reader: LogReader | undefined
  readonly isAlive: () => boolean
  /** Descriptors it has open now. */
  readonly descriptors: () => number
}

export interface HopgateProcess extends Process {
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>
}

function start(t: TestContext, args: readonly string[], circumstances: Circumstances) {
  const { log, descriptors, holdable } = circumstances
  const node = [process.execPath, '--import', 'tsx', ...args] as const
  const [command, ...rest] =
    descriptors === undefined ? node : (['sh', '-c', `ulimit -n ${descriptors}; exec "$0" "$@"`, ...node] as const)
  const options: SpawnOptions = holdable ? { env: { ...process.env, NODE_OPTIONS: HOLD } } : {}
  const { child, reader } =
    log === undefined
      ? { child: spawn(command, rest, { ...options, stdio: ['ignore', 'ignore', 'pipe'] }), reader: undefined }
      : spawnWithLog(command, rest, log, options)
  t.after(() => {
    child.kill('SIGKILL')
    reader?.close()
  })
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    child.emit('said')
  })
  const says = async (wanted: string): Promise<void> => {
    while (!text.includes(wanted)) {
      await within(once(child, 'said'), 20_000, `"${wanted}" on the stderr of ${args[0]}`, () => text)
    }
  }
  return {
    child,
    reader,
    says,
    stderr: () => text,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    descriptors: () => readdirSync(`/proc/${child.pid}/fd`).length,
  }
}

/** The naive gateway; by default all of it goes to `upstream`. */
export async function startNaive(
  t: TestContext,
  upstream: string | readonly { readonly prefix: string; readonly upstream: string }[],
  circumstances: Circumstances = {},
): Promise<Process> {
  const routes = typeof upstream === 'string' ? [{ prefix: '/', upstream }] : upstream
  const process = start(
    t,
    [NAIVE, JSON.stringify(routes), circumstances.pino ?? '', String(circumstances.connections ?? '')],
    circumstances,
  )
  await process.says('listening on ')
  return { ...process, port: Number(/listening on (\d+)/.exec(process.stderr())?.[1]) }
}

export interface HopgateSpec {
  /** Under `upstreams:` and `routes:`, in YAML. */
  readonly upstreams: string
  readonly routes: string
  /** At the top level. */
  readonly rest?: string
}

/** One upstream `up`, one route `r` for everything. */
export function forAll(upstream: string, pool = '', route = ''): HopgateSpec {
  return {
    upstreams: `{ up: { endpoints: ["${upstream}"] ${pool} } }`,
    routes: `[{ name: r, match: { path_prefix: / }, upstream: up ${route} }]`,
  }
}

export async function startHopgate(
  t: TestContext,
  spec: HopgateSpec,
  circumstances: Circumstances = {},
): Promise<HopgateProcess> {
  const [port = 0, adminPort = 0] = await freePorts(2)
  const config = writeConfig(
    t,
    [
      `listen: { address: "127.0.0.1:${port}" }`,
      `admin: { address: "127.0.0.1:${adminPort}" }`,
      'selfprobe: off',
      `upstreams: ${spec.upstreams}`,
      `routes: ${spec.routes}`,
      spec.rest ?? '',
    ].join('\n'),
  )
  const process = start(t, [CLI, 'run', '-c', config], circumstances)
  // A connection for each question: a kept one would count among the descriptors.
  const admin = (path: string) => requestOnce(adminPort, { path })
  await until('readyz 200', async () => {
    if (!process.isAlive()) throw new Error(`hopgate has ended: ${process.stderr()}`)
    return (await admin('/readyz').catch(() => undefined))?.status === 200
  })
  return {
    ...process,
    port,
    metric: async (name, labels = {}) => sumOf((await admin('/metrics')).body.toString(), name, labels),
  }
}

/** Asks again and again, a few ms apart; bounded. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, patienceMs = 20_000): Promise<void> {
  const end = performance.now() + patienceMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${patienceMs} ms: ${what}`)
    await delay(5)
  }
}

/** Sockets of a listening port that are in `state`; `at: 'clients'` are those of the other end. */
export async function socketsIn(state: string, port: number, at: 'server' | 'clients' = 'server'): Promise<number> {
  const rows = await readSocketTable()
  return rows.filter(row => row.state === state && (at === 'server' ? row.localPort : row.remotePort) === port).length
}

export const NGINX = '/usr/sbin/nginx'
/** For `{ skip }` of a test: loud, since a replay without its nginx proves less than it says. */
export const withoutNginx = existsSync(NGINX) ? false : `SKIPPED: no ${NGINX} here (apt-get install nginx-light)`

export interface Nginx {
  readonly port: number
  /** Its access log: the id it sent upstream as X-Request-Id, the status it recorded, ms since 1970 of the end. */
  entries(): { readonly requestId: string; readonly status: number; readonly at: number }[]
}

/** The nginx of the story in front of a gateway: buffering off as for an API, and an id for every request. */
export async function startNginx(t: TestContext, gatewayPort: number, directives = ''): Promise<Nginx> {
  const folder = folderOf(t)
  const [port = 0] = await freePorts(1)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(folder, 'nginx.conf'),
    `
    daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
    events { worker_connections 1024; }
    http {
      ${temporary.map(name => `${name}_temp_path ${folder}/${name};`).join(' ')}
      log_format incident '$request_id $status $msec';
      access_log ${folder}/access.log incident;
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://127.0.0.1:${gatewayPort};
          proxy_http_version 1.1;
          proxy_set_header Connection "";
          proxy_set_header X-Request-Id $request_id;
          proxy_buffering off;
          ${directives}
        }
      }
    }`,
  )
  const child = spawn(NGINX, ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  t.after(() => child.kill('SIGKILL'))
  await until('nginx listens', async () => {
    if (child.exitCode !== null) throw new Error(`nginx has ended: ${stderr}`)
    const client = await openClient(port).catch(() => undefined)
    client?.leave('rst')
    return client !== undefined
  })
  return {
    port,
    entries: () =>
      readFileSync(join(folder, 'access.log'), 'utf8')
        .split('\n')
        .filter(line => line !== '')
        .map(line => {
          const [requestId = '', status, at] = line.split(' ')
          return { requestId, status: Number(status), at: Number(at) * 1000 }
        }),
  }
}
