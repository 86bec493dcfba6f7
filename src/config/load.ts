/** The door: a configuration text becomes a complete `Config`, or every error in it with its place. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config, ConfigIssue } from './config.ts'
import type { Env } from './env.ts'
import { resolveConfig } from './resolve.ts'
import { checkRoutes, checkUpstreams } from './route-rules.ts'
import { schema } from './schema.ts'
import type { Report } from './source.ts'
import { checkNeverFires, warnAbout } from './timeout-rules.ts'
import { checkWatchdog } from './watchdog-rules.ts'
import { MAX_TEXT_BYTES, readSource } from './yaml.ts'

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly errors: readonly ConfigIssue[] }

/** `baseDir`: the folder that relative file names in the configuration are relative to. */
export function parseConfig(text: string, options: { readonly env: Env; readonly baseDir: string }): ConfigResult {
  const errors = new Issues()
  const root = readSource(text, options.env, errors.report)
  if (root === null) return { ok: false, errors: errors.sorted() }
  const written = schema.read(root, errors.report)
  checkRoutes(written, root, errors.report)
  checkUpstreams(written, root, options.baseDir, errors.report)
  checkWatchdog(written, root, errors.report)
  // A timeout that could not be read looks like one that was left out: comparing it would accuse its neighbours.
  if (!errors.some(issue => issue.path.includes('timeouts'))) checkNeverFires(written, root, errors.report)
  if (errors.some(() => true)) return { ok: false, errors: errors.sorted() }

  const warnings = new Issues()
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12)
  const config = resolveConfig(written, { baseDir: options.baseDir, hash, warnings: [] })
  warnAbout(config, root, warnings.report)
  return { ok: true, config: { ...config, warnings: warnings.sorted() } }
}

/** `file` as the operator gave it; a file that cannot be read is one issue, under its name. */
export function loadConfig(file: string, env: Env): ConfigResult {
  const text = readText(file)
  if (typeof text === 'string') return parseConfig(text, { env, baseDir: dirname(resolve(file)) })
  return {
    ok: false,
    errors: [{ path: file, line: 1, column: 1, message: `${text.wrong}, allowed a readable YAML file)` }],
  }
}

function readText(file: string): string | { readonly wrong: string } {
  try {
    const { size } = statSync(file)
    if (size > MAX_TEXT_BYTES) return { wrong: `too large (got ${size} bytes, allowed ${MAX_TEXT_BYTES}` }
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    return { wrong: `the configuration cannot be read (got ${code}` }
  }
}

/** The first thing that is wrong with a value says enough about it; the rest would be consequences. */
class Issues {
  readonly #byPlace = new Map<string, ConfigIssue>()

  readonly report: Report = ({ path, line, column }, message) => {
    const place = `${line}:${column} ${path}`
    if (!this.#byPlace.has(place))
      this.#byPlace.set(place, { path: path === '' ? '(document)' : path, line, column, message })
  }

  some(test: (issue: ConfigIssue) => boolean): boolean {
    return [...this.#byPlace.values()].some(test)
  }

  sorted(): readonly ConfigIssue[] {
    return [...this.#byPlace.values()].sort((a, b) => a.line - b.line || a.column - b.column)
  }
}
