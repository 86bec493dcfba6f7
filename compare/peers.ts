/** The proxies that are compared: how each is started with a route for every case, and what it has no setting for. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openClient } from '../src/prove/raw-client.ts'
import { testCa } from '../src/prove/tls-fixtures.ts'
import { freePorts } from '../test/incidents/ports.ts'
import { fill } from './template.ts'

export interface Route {
  /** Of the case, and its path. */
  readonly name: string
  readonly port: number
  readonly tls: boolean
}

/** What the peers that are programs of ours are given, as JSON. */
export interface PeerProgram {
  readonly listen: string
  readonly ca: string
  readonly routes: readonly { readonly name: string; readonly url: string }[]
}

export interface Peer {
  readonly name: string
  /** Its configuration or source, below compare/. */
  readonly source: string
  /** Undefined where it is not installed. */
  readonly version: () => string | undefined
  /** The command that runs it in the foreground. Writes what it needs into the folder. */
  readonly command: (at: Place, routes: readonly Route[]) => readonly string[]
  /** Cases it has no setting for: a wrong result there is said to be "not configurable". */
  readonly cannot: Readonly<Record<string, string>>
}

interface Place {
  readonly folder: string
  readonly listen: number
  readonly admin: number
  readonly ca: string
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** The first line of a command's output that has a version; undefined where there is no such command. */
function versionOf(command: string, args: readonly string[], pattern: RegExp): string | undefined {
  try {
    const text = execFileSync('sh', ['-c', `${[command, ...args].join(' ')} 2>&1`], { encoding: 'utf8' })
    return pattern.exec(text)?.[1]
  } catch {
    return undefined
  }
}

function packageVersion(name: string, from: string): string | undefined {
  const folders = createRequire(new URL(from, import.meta.url)).resolve.paths(name) ?? []
  const path = folders.map(folder => join(folder, name, 'package.json')).find(existsSync)
  return path === undefined ? undefined : (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}

function configured(source: string, at: Place, routes: readonly Route[]): string {
  const path = join(at.folder, source.split('/').at(-1) ?? '')
  const values = { folder: at.folder, listen: String(at.listen), admin: String(at.admin), ca: at.ca }
  writeFileSync(path, fill(readFileSync(here(source), 'utf8'), routes, values))
  return path
}

function program({ listen, ca }: Place, routes: readonly Route[]): string {
  const url = ({ tls, port }: Route): string => (tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`)
  const given: PeerProgram = {
    listen: `127.0.0.1:${listen}`,
    ca,
    routes: routes.map(route => ({ name: route.name, url: url(route) })),
  }
  return JSON.stringify(given)
}

const tsx = (path: string): string[] => [process.execPath, '--import', 'tsx', here(path)]

const NO_DEADLINE = { 'body-drips-for-ever': 'no deadline over the whole' }
const NO_RATE = { 'client-upload-drips': 'no bound but the pause between two bytes' }

export const PEERS: readonly Peer[] = [
  {
    name: 'hopgate',
    source: 'peers/hopgate.yaml',
    version: () => (JSON.parse(readFileSync(here('../package.json'), 'utf8')) as { version: string }).version,
    command: (at, routes) => [...tsx('../src/cli.ts'), 'run', '-c', configured('peers/hopgate.yaml', at, routes)],
    cannot: {},
  },
  {
    name: 'nginx',
    source: 'peers/nginx.conf',
    version: () => versionOf('/usr/sbin/nginx', ['-v'], /nginx\/(\S+)/),
    command: (at, routes) => {
      return ['/usr/sbin/nginx', '-p', at.folder, '-c', configured('peers/nginx.conf', at, routes)]
    },
    cannot: { ...NO_DEADLINE, ...NO_RATE },
  },
  {
    name: 'HAProxy',
    source: 'peers/haproxy.cfg',
    version: () => versionOf('/usr/sbin/haproxy', ['-v'], /version (\S+)/),
    command: (at, routes) => ['/usr/sbin/haproxy', '-db', '-f', configured('peers/haproxy.cfg', at, routes)],
    cannot: { ...NO_DEADLINE, ...NO_RATE },
  },
  {
    name: 'Caddy',
    source: 'peers/Caddyfile',
    version: () => versionOf('/usr/bin/caddy', ['version'], /(\d\S*)/),
    command: (at, routes) => [
      '/usr/bin/caddy',
      'run',
      '--adapter',
      'caddyfile',
      '--config',
      configured('peers/Caddyfile', at, routes),
    ],
    cannot: {
      'client-upload-stalls': '`read_body` is a total, not a pause',
      'client-reads-nothing': '`write` is a total, not a pause',
    },
  },
  {
    name: 'Go ReverseProxy',
    source: 'peers/go/main.go',
    version: () => versionOf('/usr/bin/go', ['version'], /go(\d\S*)/),
    command: (at, routes) => {
      const binary = join(at.folder, 'go-proxy')
      execFileSync('/usr/bin/go', ['build', '-o', binary, '.'], { cwd: here('peers/go'), stdio: 'inherit' })
      return [binary, program(at, routes)]
    },
    cannot: {},
  },
  {
    name: '@fastify/http-proxy',
    source: 'peers/http-proxy.ts',
    version: () => packageVersion('@fastify/http-proxy', '../package.json'),
    command: (at, routes) => [...tsx('peers/http-proxy.ts'), program(at, routes)],
    cannot: { ...NO_DEADLINE, ...NO_RATE, 'upload-unread': 'no timeout for writes' },
  },
  {
    name: 'httpxy',
    source: 'peers/httpxy.ts',
    version: () => packageVersion('httpxy', '../bench/package.json'),
    command: (at, routes) => [...tsx('peers/httpxy.ts'), program(at, routes)],
    cannot: {
      ...NO_DEADLINE,
      ...NO_RATE,
      'dial-black-hole': 'no timeout for the dial',
      'tls-hangs': 'no timeout for the dial',
    },
  },
]

export interface RunningPeer {
  readonly port: number
  readonly child: ChildProcess
}

/** Starts it on a free port; resolves when it accepts. */
export async function startPeer(peer: Peer, routes: readonly Route[], folder: string): Promise<RunningPeer> {
  const [listen = 0, admin = 0] = await freePorts(2)
  const ca = join(folder, 'ca.pem')
  writeFileSync(ca, testCa)
  const [command = '', ...args] = peer.command({ folder, listen, admin, ca }, routes)
  const env = { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder }
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-4000)
  })
  for (let tries = 0; tries < 1000; tries++) {
    if (child.exitCode !== null) throw new Error(`${peer.name} ended with ${child.exitCode}: ${stderr}`)
    const client = await openClient(listen).catch(() => undefined)
    if (client !== undefined) {
      client.leave('rst')
      return { port: listen, child }
    }
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  child.kill('SIGKILL')
  throw new Error(`${peer.name} does not listen: ${stderr}`)
}

export async function stopPeer({ child }: RunningPeer): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
