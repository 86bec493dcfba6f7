/** Who is measured: how each is started, and what it needs to be there. */
import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './bench.ts'
import { freePorts, listening, PROXY_CORE, type Started, start, stop, which } from './processes.ts'

export interface Contender {
  readonly name: string
  readonly port: number
  /** hopgate's operator side. */
  readonly adminPort: number
  readonly started: Started
  stop(): Promise<void>
}

export interface Kind {
  readonly name: string
  /** What it does beside proxying. */
  readonly does: string
  readonly logs: boolean
  readonly missing: string | undefined
  /** @param routes 0 for the usual ones, else /r/0 to /r/N-1 */
  argv(bench: Bench, at: Placed): { argv: readonly string[]; env?: Record<string, string>; stdoutTo?: string }
}

interface Placed {
  readonly name: string
  readonly port: number
  readonly adminPort: number
  readonly routes: number
}

const missing = (program: string): string | undefined => (which(program) ? undefined : `${program} is not installed`)
const repeat = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n')

function nodePeer(name: string, module: string, peers: string): Kind {
  const found = existsSync(join(peers, '..', 'node_modules', module, 'package.json'))
  return {
    name,
    does: 'bare',
    logs: false,
    missing: found ? undefined : `${module} is not installed: npm ci --prefix bench`,
    argv: (bench, at) => ({
      argv: [process.execPath, join(peers, `${name}.mjs`)],
      env: { ...bench.env(at), ROUTES: String(at.routes) },
    }),
  }
}

function logged(kind: Kind, does: string, argv: Kind['argv']): Kind {
  return { ...kind, name: `${kind.name} +log`, does, logs: true, argv }
}

export function kinds(bench: Bench): readonly Kind[] {
  const { peers } = bench
  const nginx = (log: (at: Placed) => string): Kind['argv'] => {
    return (b, at) => {
      const ROUTES = repeat(at.routes, i => `    location /r/${i}/ { proxy_pass http://fast; }`)
      const file = b.render('nginx.conf', { ...b.env(at), ACCESS_LOG: log(at), ROUTES })
      return { argv: ['nginx', '-p', b.dir, '-e', 'stderr', '-c', file] }
    }
  }
  const haproxy = (log: boolean): Kind['argv'] => {
    return (b, at) => {
      const own = log
        ? '  log global\n  option httplog\n  option forwardfor\n  unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid\n  unique-id-header X-Request-Id'
        : ''
      const GLOBAL_LOG = log ? '  log stdout format raw local0' : ''
      const file = b.render('haproxy.cfg', { ...b.env(at), GLOBAL_LOG, DEFAULTS_LOG: own })
      return { argv: ['haproxy', '-db', '-f', file], ...(log ? { stdoutTo: join(b.dir, `${at.name}.log`) } : {}) }
    }
  }
  const caddy = (log: boolean): Kind['argv'] => {
    return (b, at) => {
      const ACCESS_LOG = log ? `log {\n\t\toutput file ${join(b.dir, `${at.name}.log`)}\n\t}` : ''
      const file = b.render('Caddyfile', { ...b.env(at), ACCESS_LOG })
      const env = { GOMAXPROCS: '1', HOME: b.dir, XDG_DATA_HOME: b.dir, XDG_CONFIG_HOME: b.dir }
      return { argv: ['caddy', 'run', '--adapter', 'caddyfile', '--config', file], env }
    }
  }
  const fastify = { ...nodePeer('fastify-http-proxy', '@fastify/http-proxy', peers), name: '@fastify/http-proxy' }
  const plain: Kind[] = [
    {
      name: 'hopgate',
      does: 'everything on',
      logs: true,
      missing: undefined,
      argv: (b, at) => {
        const ROUTES =
          at.routes === 0
            ? '  - { name: fast, match: { path_prefix: / }, upstream: fast }'
            : repeat(at.routes, i => `  - { name: r${i}, match: { path_prefix: /r/${i} }, upstream: fast }`)
        const file = b.render('hopgate.yaml', { ...b.env(at), ROUTES })
        return { argv: [process.execPath, b.cli, 'run', '-c', file] }
      },
    },
    { name: 'nginx', does: 'bare', logs: false, missing: missing('nginx'), argv: nginx(() => 'off') },
    { name: 'HAProxy', does: 'bare', logs: false, missing: missing('haproxy'), argv: haproxy(false) },
    {
      name: 'Go ReverseProxy',
      does: 'bare',
      logs: false,
      missing: bench.goProxy === undefined ? 'go is not installed' : undefined,
      argv: (b, at) => ({ argv: [b.goProxy ?? ''], env: { ...b.env(at), GOMAXPROCS: '1' } }),
    },
    { name: 'Caddy', does: 'bare', logs: false, missing: missing('caddy'), argv: caddy(false) },
    fastify,
    nodePeer('http-proxy', 'http-proxy', peers),
    nodePeer('httpxy', 'httpxy', peers),
    nodePeer('fast-proxy', 'fast-proxy', peers),
  ]
  const [, barNginx, barHaproxy, , barCaddy] = plain as [Kind, Kind, Kind, Kind, Kind]
  return [
    ...plain,
    {
      name: 'Node',
      does: 'relays bytes, knows no HTTP',
      logs: false,
      missing: undefined,
      argv: (b, at) => ({ argv: [process.execPath, join(peers, 'bytes-only.mjs')], env: b.env(at) }),
    },
    logged(
      barNginx,
      'access_log',
      nginx(at => join(bench.dir, `${at.name}.log`)),
    ),
    logged(barHaproxy, 'httplog, unique-id, forwardfor', haproxy(true)),
    logged(barCaddy, 'log', caddy(true)),
    logged(fastify, "Fastify's logger", (b, at) => {
      const { argv, env } = fastify.argv(b, at)
      return { argv, env: { ...env, ACCESS_LOG: join(b.dir, `${at.name}.log`) } }
    }),
  ]
}

let starts = 0

export async function launch(bench: Bench, kind: Kind, routes = 0): Promise<Contender> {
  const [port = 0, adminPort = 0] = await freePorts(2)
  const name = `${kind.name.replaceAll(/\W+/g, '-')}-${++starts}`
  const { argv, env, stdoutTo } = kind.argv(bench, { name, port, adminPort, routes })
  const stdout = stdoutTo === undefined ? undefined : openSync(stdoutTo, 'a')
  const started = start({
    name: kind.name,
    argv,
    core: PROXY_CORE,
    cwd: bench.dir,
    ...(env === undefined ? {} : { env }),
    ...(stdout === undefined ? {} : { stdout }),
  })
  if (stdout !== undefined) closeSync(stdout)
  try {
    await listening(started, port)
  } catch (error) {
    await stop(started)
    throw error
  }
  return { name: kind.name, port, adminPort, started, stop: () => stop(started) }
}
