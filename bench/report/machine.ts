/** Where and with what it was measured. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { root } from '../harness/bench.ts'

export interface Setting {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly versions: Readonly<Record<string, string>>
}

const PROGRAMS: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['nginx', ['-v'], /nginx\/(\S+)/],
  ['haproxy', ['-v'], /version (\S+)/],
  ['caddy', ['version'], /v?(\d\S*)/],
  ['go', ['version'], /go(\d\S*)/],
  ['wrk', ['-v'], /wrk \S*?(\d[\d.]*)/],
]

export function machine(): Setting {
  const versions: Record<string, string> = { hopgate: version(root), node: process.versions.node }
  for (const [program, args, pattern] of PROGRAMS) {
    const { stdout, stderr, error } = spawnSync(program, [...args], { encoding: 'utf8', timeout: 5000 })
    const found = error === undefined ? pattern.exec(`${stdout}${stderr}`)?.[1] : undefined
    if (found !== undefined) versions[program] = found
  }
  const { dependencies = {} } = manifest(join(root, 'bench'))
  for (const [name, wanted] of Object.entries(dependencies)) versions[name] = wanted
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    versions,
  }
}

interface Manifest {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
}

function version(folder: string): string {
  return manifest(folder).version ?? 'unknown'
}
