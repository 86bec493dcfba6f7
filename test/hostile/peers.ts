/**
 * `npm run hostile:peers`: the corpus of requests against hopgate and whatever of nginx, HAProxy and Go is installed.
 * What differs is written into docs/SECURITY.md, between its two marks.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseConfig } from '../../src/config/load.ts'
import { startGateway } from '../../src/gateway.ts'
import { CORPUS } from './corpus.ts'
import { type Hostile, SOURCES } from './corpus-words.ts'
import { converse, statusesOf } from './wire.ts'

const DOC = fileURLToPath(new URL('../../docs/SECURITY.md', import.meta.url))
const BEGIN = '<!-- peers: begin -->'
const END = '<!-- peers: end -->'

interface Peer {
  readonly name: string
  readonly port: number
  stop(): Promise<void> | void
}

interface Seen {
  readonly statuses: readonly number[]
  readonly reached: boolean
  readonly closed: boolean
}

const folder = mkdtempSync(join(tmpdir(), 'hopgate-peers-'))

/** Answers whatever comes with 200, and counts the connections on which something came. */
let touched = 0
const upstream = createServer(socket => {
  socket.on('error', () => {})
  socket.on('data', () => {
    touched++
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
  })
})
upstream.listen(0, '127.0.0.1')
await once(upstream, 'listening')
const { port: upstreamPort } = upstream.address() as AddressInfo

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

async function startHopgate(): Promise<Peer> {
  const parsed = parseConfig(
    `listen: { address: "127.0.0.1:0" }\nadmin: { address: "127.0.0.1:0" }\nupstreams: { up: { endpoints: ["http://127.0.0.1:${upstreamPort}"] } }\nroutes: [{ name: r, match: { path_prefix: / }, upstream: up }]\n`,
    { env: {}, baseDir: '/' },
  )
  if (!parsed.ok) throw new Error('the configuration of this script')
  const nothing = { access: 0, event: 0 }
  const gateway = await startGateway({
    config: parsed.config,
    version: 'peers',
    sink: { write: () => {}, writeAccess: () => {}, written: nothing, dropped: nothing, up: true, bufferedBytes: 0 },
  })
  return {
    name: 'hopgate',
    port: gateway.address.port,
    stop: () => {
      gateway.cut()
      return gateway.close()
    },
  }
}

function child(name: string, port: number, command: string, args: readonly string[]): Peer {
  const process: ChildProcess = spawn(command, args, { stdio: 'ignore' })
  return { name, port, stop: () => void process.kill('SIGKILL') }
}

/** The first line that says a version; undefined: not installed. */
function version(command: string, argument: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(command, [argument], { encoding: 'utf8' })
  return error === undefined ? /\d+\.\d+(?:\.\d+)?/.exec(stdout + stderr)?.[0] : undefined
}

async function startNginx(): Promise<Peer | undefined> {
  const found = version('nginx', '-v')
  if (found === undefined) return undefined
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/nginx.pid; error_log /dev/null;
events {}
http { access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 127.0.0.1:${port}; client_max_body_size 10m;
    location / { proxy_pass http://127.0.0.1:${upstreamPort}; proxy_http_version 1.1; proxy_set_header Host $host; } } }
`,
  )
  return child(`nginx ${found}`, port, 'nginx', ['-c', file, '-p', folder])
}

async function startHaproxy(): Promise<Peer | undefined> {
  const found = version('haproxy', '-v')
  if (found === undefined) return undefined
  const port = await freePort()
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(
    file,
    `defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend f
  bind 127.0.0.1:${port}
  default_backend b
backend b
  server s 127.0.0.1:${upstreamPort}
`,
  )
  return child(`HAProxy ${found}`, port, 'haproxy', ['-f', file])
}

async function startGo(): Promise<Peer | undefined> {
  const found = version('go', 'version')
  if (found === undefined) return undefined
  const port = await freePort()
  const file = join(folder, 'main.go')
  writeFileSync(
    file,
    `package main
import ("log"; "net/http"; "net/http/httputil"; "net/url")
func main() {
	to, _ := url.Parse("http://127.0.0.1:${upstreamPort}")
	log.Fatal(http.ListenAndServe("127.0.0.1:${port}", httputil.NewSingleHostReverseProxy(to)))
}
`,
  )
  const built = spawnSync('go', ['build', '-o', join(folder, 'go-proxy'), file], {
    env: { ...process.env, GO111MODULE: 'off', GOCACHE: join(folder, 'cache') },
    timeout: 120_000,
  })
  return built.status === 0 ? child(`Go ${found}`, port, join(folder, 'go-proxy'), []) : undefined
}

async function see(peer: Peer, { bytes }: Hostile): Promise<Seen> {
  const before = touched
  const { text, closed } = await converse(peer.port, Buffer.from(bytes, 'latin1'))
  await delay(5)
  return { statuses: statusesOf(text), reached: touched > before, closed }
}

/** Refused, whatever the status, and nothing passed on. */
function isRefused({ statuses, reached }: Seen): boolean {
  return !reached && statuses.every(status => status >= 400)
}

function shown({ statuses, reached, closed }: Seen): string {
  const said = statuses.length > 0 ? statuses.join(', ') : closed ? 'closed' : 'silence'
  return reached ? `**${said}, forwarded**` : said
}

async function compare(): Promise<void> {
  const peers: Peer[] = []
  try {
    for (const start of [startHopgate, startNginx, startHaproxy, startGo]) {
      const peer = await start()
      if (peer !== undefined) peers.push(peer)
    }
    await delay(1000)
    for (const peer of peers) {
      const { text } = await converse(
        peer.port,
        Buffer.from('GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n'),
      )
      if (!text.includes(' 200 ')) throw new Error(`${peer.name} does not work: ${text.slice(0, 200)}`)
    }
    const columns = new Map(peers.map(({ name }) => [name, [] as Seen[]]))
    // Each peer takes one input at a time, because what reaches the upstream is counted by it alone.
    for (const peer of peers) {
      for (const one of CORPUS) columns.get(peer.name)?.push(await see(peer, one))
    }
    publish(peers.map(({ name }) => ({ name, seen: columns.get(name) ?? [] })))
  } finally {
    for (const peer of peers) await peer.stop()
    upstream.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function publish(columns: readonly { readonly name: string; readonly seen: readonly Seen[] }[]): void {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const totals = columns.map(({ name, seen }) =>
    row([name, String(seen.filter(isRefused).length), String(seen.filter(({ reached }) => reached).length)]),
  )
  const differing = CORPUS.flatMap((one, i) => {
    const seen = columns.map(column => column.seen[i] as Seen)
    return seen.some(each => !isRefused(each))
      ? [row([one.of, one.what.replaceAll('|', '\\|'), ...seen.map(shown)])]
      : []
  })
  const text = [
    BEGIN,
    '### Classes and their sources',
    '',
    row(['class', 'inputs', 'sources']),
    row(['---', '---:', '---']),
    ...Object.entries(SOURCES).map(([name, source]) =>
      row([name, String(CORPUS.filter(({ of }) => of === name).length), source]),
    ),
    '',
    '### The same inputs at other proxies',
    '',
    `Of ${CORPUS.length} inputs:`,
    '',
    row(['', 'refused', 'something forwarded']),
    row(['---', '---:', '---:']),
    ...totals,
    '',
    'Those that somebody forwards, or answers well:',
    '',
    row(['class', 'input', ...columns.map(({ name }) => name)]),
    row(['---', '---', ...columns.map(() => '---')]),
    ...differing,
    END,
  ].join('\n')
  const before = readFileSync(DOC, 'utf8')
  writeFileSync(DOC, before.slice(0, before.indexOf(BEGIN)) + text + before.slice(before.indexOf(END) + END.length))
  process.stdout.write(`${totals.join('\n')}\n`)
}

await compare()
