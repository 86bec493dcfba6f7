/** The door: a configuration text becomes a complete `Config`, or every error in it with its place. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config, ConfigIssue } from './config.ts'
import { type Env, referencedIn } from './env.ts'
import { resolveConfig } from './resolve.ts'
import { checkNeighbours, checkRoutes, checkUpstreams } from './route-rules.ts'
import { schema } from './schema.ts'
import type { Report, SourceNode } from './source.ts'
import { checkNeverFires, warnAbout } from './timeout-rules.ts'
import { checkWatchdog } from './watchdog-rules.ts'
import { unquoted } from './words.ts'
import { MAX_TEXT_BYTES, readSource } from './yaml.ts'

export type ConfigResult =
  | {
      readonly ok: true
      readonly config: Config
      /** As it was written: where each value stands, for whoever has more to say about it. */
      readonly source: { readonly root: SourceNode; readonly text: string }
    }
  | { readonly ok: false; readonly errors: readonly ConfigIssue[] }

/** `baseDir`: the folder that relative file names in the configuration are relative to. */
export function parseConfig(text: string, options: { readonly env: Env; readonly baseDir: string }): ConfigResult {
  const redact = redactor(text, options.env)
  const errors = new Issues(redact)
  const root = readSource(text, options.env, errors.report)
  if (root === null) return { ok: false, errors: errors.sorted() }
  const written = schema.read(root, errors.report)
  checkRoutes(written, root, errors.report)
  checkUpstreams(written, root, options.baseDir, errors.report)
  checkNeighbours(root, errors.report)
  checkWatchdog(written, root, errors.report)
  // A timeout that could not be read looks like one that was left out: comparing it would accuse its neighbours.
  if (!errors.some(issue => issue.path.includes('timeouts'))) checkNeverFires(written, root, errors.report)
  if (errors.some(() => true)) return { ok: false, errors: errors.sorted() }

  const warnings = new Issues(redact)
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12)
  const config = resolveConfig(written, { baseDir: options.baseDir, hash, warnings: [] })
  warnAbout(config, root, warnings.report)
  return { ok: true, config: { ...config, warnings: warnings.sorted() }, source: { root, text } }
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

/** Anything shorter would be found in the words of the messages themselves. */
const SHORTEST_SECRET = 6

/** Puts the reference back where a message repeats what the environment put in: a secret may stand in the wrong place. */
function redactor(text: string, env: Env): (message: string) => string {
  const values: { readonly value: string; readonly reference: string }[] = []
  for (const name of referencedIn(text)) {
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if (value === undefined || value.length < SHORTEST_SECRET) continue
    values.push({ value, reference: `\${${name}}` }, { value: unquoted(value), reference: `\${${name}}` })
  }
  return message => values.reduce((said, { value, reference }) => said.replaceAll(value, reference), message)
}

/** The first thing that is wrong with a value says enough about it; the rest would be consequences. */
class Issues {
  readonly #byPlace = new Map<string, ConfigIssue>()
  readonly #redact: (message: string) => string

  constructor(redact: (message: string) => string) {
    this.#redact = redact
  }

  readonly report: Report = ({ path, line, column }, message) => {
    const place = `${line}:${column} ${path}`
    if (!this.#byPlace.has(place))
      this.#byPlace.set(place, {
        path: path === '' ? '(document)' : path,
        line,
        column,
        message: this.#redact(message),
      })
  }

  some(test: (issue: ConfigIssue) => boolean): boolean {
    return [...this.#byPlace.values()].some(test)
  }

  sorted(): readonly ConfigIssue[] {
    return [...this.#byPlace.values()].sort((a, b) => a.line - b.line || a.column - b.column)
  }
}
