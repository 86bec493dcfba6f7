/** `hopgate explain [FILE...]`: access lines, told as sentences. */
import { statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { Explainer, patienceOf } from '../explain/explain.ts'
import { type Limits, limitsOf } from '../explain/limits.ts'
import { openLog } from '../explain/lines.ts'
import { Patience } from '../explain/patience.ts'
import type { CheckIo } from './check.ts'

const EX_CONFIG = 78

export interface ExplainArguments {
  /** Log files; `-`, or none: standard input. */
  readonly files: readonly string[]
  /** The configuration that the gateway ran with; names the limits. */
  readonly config?: string | undefined
  readonly requestId?: string | undefined
  readonly summary?: boolean | undefined
}

export interface ExplainIo extends CheckIo {
  readonly stdin: Readable
}

/** The exit code: 0; 1 for a log that cannot be read, or a request id that is not in it; 78 for a bad configuration. */
export async function explain(
  { files, config, requestId = '', summary = false }: ExplainArguments,
  { stdin, stdout, stderr, env }: ExplainIo,
): Promise<number> {
  let limits: ReadonlyMap<string, Limits> | null = null
  if (config !== undefined) {
    const result = loadConfig(config, env)
    if (!result.ok) {
      for (const issue of result.errors) stderr.write(`${renderIssue(issue, config)}\n`)
      return EX_CONFIG
    }
    limits = limitsOf(result.config)
  }
  const names = files.length === 0 ? ['-'] : files
  const wanted = { requestId: requestId === '' ? null : requestId, summary: summary && requestId === '', limits }
  // A pipe can be read once: what it shows of the callers' patience is told at its end.
  const twice = !wanted.summary && names.every(isPlainFile)
  const patience = twice ? new Patience() : null
  const where = names.length === 1 && names[0] !== '-' ? ' in this file' : ' in this log'
  const explainer = new Explainer(wanted, patience, where, text => stdout.write(text))
  let reading = ''
  try {
    for (const name of patience === null ? [] : names) {
      reading = name
      await patienceOf(openLog(name), patience as Patience)
    }
    for (const name of names) {
      reading = name
      await explainer.read(name === '-' ? stdin : openLog(name))
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    stderr.write(
      `${reading}: the log cannot be read (got ${code ?? message}, allowed a readable file, or - for stdin)\n`,
    )
    return 1
  }
  stdout.write(explainer.end())
  if (wanted.requestId === null || explainer.told.told > 0) return 0
  const { lines, others } = explainer.told
  stderr.write(
    `--request-id: no such exchange (got ${JSON.stringify(requestId)}; read ${lines} access lines and ${others} others)\n`,
  )
  return 1
}

function isPlainFile(name: string): boolean {
  try {
    return name !== '-' && statSync(name).isFile()
  } catch {
    // Opening it will say why.
    return false
  }
}
