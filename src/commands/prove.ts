/** `hopgate prove -c FILE`: the gateway of this very configuration, and a real fault for each of its promises. */
import { writeFileSync } from 'node:fs'
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { startGateway } from '../gateway.ts'
import type { StartGateway } from '../prove/ground.ts'
import { renderProof } from '../prove/report.ts'
import { proofJson, proofJunit } from '../prove/report-files.ts'
import { prove as proveConfig } from '../prove/run.ts'

const EXIT_CONFIG = 78

export interface ProveArguments {
  readonly file: string
  readonly route?: string | undefined
  readonly only?: string | undefined
  /** As typed. */
  readonly scale?: string | undefined
  /** Files to write. */
  readonly json?: string | undefined
  readonly junit?: string | undefined
}

export interface ProveIo {
  readonly version: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean }
}

/** The exit code: 0 all proven, 1 a miss, 78 a configuration (or a selection of it) that is wrong. */
export async function prove(
  { file, route, only, scale = '1', json, junit }: ProveArguments,
  { version, env, stdout, stderr }: ProveIo,
  start: StartGateway = startGateway,
): Promise<number> {
  const result = loadConfig(file, env)
  if (!result.ok) {
    for (const issue of result.errors) stderr.write(`${renderIssue(issue, file)}\n`)
    return EXIT_CONFIG
  }
  const { config } = result
  const factor = Number(scale)
  if (!(factor > 0 && factor <= 1)) {
    stderr.write(`--scale: not a factor (got ${scale}, allowed above 0, at most 1)\n`)
    return EXIT_CONFIG
  }
  if (route !== undefined && !config.routes.some(({ name }) => name === route)) {
    const names = config.routes.map(({ name }) => name).join(', ')
    stderr.write(`--route: no such route (got ${route}, allowed ${names})\n`)
    return EXIT_CONFIG
  }
  const live = stderr.isTTY === true
  const proof = await proveConfig(config, {
    start,
    version,
    route,
    only,
    scale: factor,
    ...(live ? { progress: (...told) => stderr.write(progressLine(...told)) } : {}),
  })
  if (live) stderr.write('\r\x1b[K')
  if (proof.results.length === 0) {
    stderr.write(`--only: nothing has this name (got ${only ?? ''}, allowed a timeout, a stage or an outcome)\n`)
    return EXIT_CONFIG
  }
  stdout.write(renderProof(proof, file))
  if (json !== undefined) writeFileSync(json, proofJson(proof))
  if (junit !== undefined) writeFileSync(junit, proofJunit(proof))
  return proof.ok ? 0 : 1
}

function progressLine(done: number, of: number, missed: number, { name }: { readonly name: string }): string {
  const width = 24
  const filled = Math.round((done / of) * width)
  const bar = `${'='.repeat(filled)}${' '.repeat(width - filled)}`
  return `\r\x1b[K[${bar}] ${done}/${of}${missed === 0 ? '' : `, ${missed} missed`}  ${name.slice(0, 40)}`
}
