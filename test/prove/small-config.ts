/** A configuration that is proven in about two seconds, and `hopgate prove` run on it in this process. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prove } from '../../src/commands/prove.ts'
import type { StartGateway } from '../../src/prove/ground.ts'

export const SMALL = `
listen:
  timeouts: { headers: 500ms, body_idle: 400ms, write_idle: 500ms, keepalive: 600ms }
  min_body_rate: { rate: 1KiB/s, grace: 700ms }
defaults:
  timeouts: { request: 1200ms, queue: 300ms, connect: 350ms, request_write: 400ms, response_headers: 400ms, body_idle: 400ms }
upstreams:
  up: { endpoints: ["http://192.0.2.1:80", "http://192.0.2.2:80"], pool: { max_connections: 2, queue: 2 } }
routes:
  - { name: r, match: { path_prefix: /r }, upstream: up }
`

export interface ProvedCase {
  readonly name: string
  readonly kind: string
  readonly word: string
  readonly verdict: string
  readonly covered: string | null
  readonly configured_ms: number | null
  readonly overrun_ms: number | null
  readonly wrong: readonly string[]
}

export interface ProveRun {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly cases: readonly ProvedCase[]
  readonly misses: readonly string[]
  readonly junit: string
}

export interface RunOptions {
  readonly only?: string
  readonly route?: string
  readonly scale?: string
  readonly start?: StartGateway
}

/** @param config YAML text, or the path of a file */
export async function runProve(config: string, { start, ...options }: RunOptions = {}): Promise<ProveRun> {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-prove-test-'))
  const json = join(folder, 'proof.json')
  const junit = join(folder, 'proof.xml')
  let file = config
  if (config.includes('\n')) {
    file = join(folder, 'hopgate.yaml')
    writeFileSync(file, config)
  }
  let stdout = ''
  let stderr = ''
  const io = {
    version: 'test',
    env: {},
    stdout: { write: (text: string) => (stdout += text) },
    stderr: { write: (text: string) => (stderr += text) },
  }
  try {
    const code = await prove({ file, json, junit, ...options }, io, start)
    const read = (path: string): string => {
      try {
        return readFileSync(path, 'utf8')
      } catch {
        return ''
      }
    }
    const text = read(json)
    const { cases } = text === '' ? { cases: [] } : (JSON.parse(text) as { cases: readonly ProvedCase[] })
    const misses = cases.filter(({ verdict }) => verdict === 'miss').map(({ name }) => name)
    return { code, stdout, stderr, cases, misses, junit: read(junit) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
