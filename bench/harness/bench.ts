/** What every workload works with: the upstreams, the load generator, a folder for configurations and logs. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Generator, startGenerator } from './load.ts'
import { canPin, endWithUs, freePorts, LOAD_CORE, listening, start, which } from './processes.ts'
import { type Kind, kinds } from './proxies.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const SMALL_BYTES = 500
const LARGE_BYTES = 256 * 1024

export interface Bench {
  readonly dir: string
  readonly peers: string
  readonly scripts: string
  readonly cli: string
  /** The built Go peer; undefined without Go. */
  readonly goProxy: string | undefined
  readonly generator: Generator
  readonly fastPort: number
  readonly kinds: readonly Kind[]
  readonly quick: boolean
  /** What the results were made with, where it is a stand-in. */
  readonly remarks: readonly string[]
  env(at: { name: string; port: number; adminPort: number }): Record<string, string>
  /** A file of peers/ with its ${NAMES} replaced, in the bench's folder. */
  render(file: string, values: Readonly<Record<string, string>>): string
  say(text: string): void
}

export async function openBench({ quick, build }: { quick: boolean; build: boolean }): Promise<Bench> {
  const dir = mkdtempSync(join(tmpdir(), 'hopgate-bench-'))
  // nginx's worker is someone else when nginx is started by root.
  chmodSync(dir, 0o755)
  endWithUs(() => rmSync(dir, { recursive: true, force: true }))
  const peers = join(root, 'bench', 'peers')
  const remarks: string[] = []
  if (canPin) must('taskset', ['-pc', String(LOAD_CORE), String(process.pid)])
  else remarks.push('nothing is pinned: taskset or a second core is missing')
  if (build) must('npm', ['run', '-s', 'build'], root)
  const go = which('go')
  if (!go) remarks.push('Go is not installed: the load generator is the one in Node, which is slower')
  const load = go ? goBuild('load', join(root, 'bench', 'load')) : undefined
  const generator = await startGenerator(
    load === undefined ? [process.execPath, join(root, 'bench', 'load', 'fallback.mjs')] : [load],
  )

  const render: Bench['render'] = (file, values) => {
    const text = readFileSync(join(peers, file), 'utf8').replaceAll(
      /\$\{(\w+)\}/g,
      (whole, name) => values[name] ?? whole,
    )
    const path = join(dir, `${values['NAME'] ?? 'file'}-${file}`)
    writeFileSync(path, text)
    return path
  }
  const fastPort = which('nginx') ? await startNginx(dir, render) : generator.port
  if (fastPort === generator.port)
    remarks.push('nginx is not installed: its part as upstream is played by the load generator')

  const bench = {
    dir,
    peers,
    scripts: join(root, 'bench', 'load'),
    cli: join(root, 'dist', 'cli.js'),
    goProxy: go ? goBuild('go-proxy', join(peers, 'go')) : undefined,
    generator,
    fastPort,
    quick,
    remarks,
    env: ({ name, port, adminPort }: { name: string; port: number; adminPort: number }) => ({
      NAME: name,
      DIR: dir,
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      FAST_PORT: String(fastPort),
      SLOW_PORT: String(generator.port),
    }),
    render,
    say: (text: string) => process.stderr.write(`${String(Math.round(process.uptime())).padStart(4)} s  ${text}\n`),
  }
  return { ...bench, kinds: kinds({ ...bench, kinds: [] }) }
}

async function startNginx(dir: string, render: Bench['render']): Promise<number> {
  writeFileSync(join(dir, 'large'), 'x'.repeat(LARGE_BYTES))
  const [port = 0] = await freePorts(1)
  const SMALL = 'x'.repeat(SMALL_BYTES)
  const file = render('backend-nginx.conf', { NAME: 'backend', DIR: dir, FAST_PORT: String(port), SMALL })
  const started = start({ name: 'backend', argv: ['nginx', '-p', dir, '-e', 'stderr', '-c', file], core: LOAD_CORE })
  await listening(started, port)
  return port
}

function goBuild(name: string, folder: string): string {
  const out = join(root, 'bench', '.build', name)
  mkdirSync(join(root, 'bench', '.build'), { recursive: true })
  must('go', ['build', '-o', out, '.'], folder)
  return out
}

function must(program: string, args: readonly string[], cwd = root): void {
  const { status, stderr, stdout } = spawnSync(program, [...args], { cwd, encoding: 'utf8', timeout: 180_000 })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`)
}
