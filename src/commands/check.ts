/** `hopgate check -c FILE`: every error at once, or the effective timeouts of every route with where each came from. */
import { loadConfig } from '../config/load.ts'
import { renderEffective, renderIssue } from '../config/render.ts'

/** sysexits.h EX_CONFIG. */
const EX_CONFIG = 78

export interface CheckIo {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
}

/** The exit code: 0, or 78 for a configuration with errors, each of them one line on stderr. */
export function check({ file }: { readonly file: string }, { stdout, stderr, env }: CheckIo): 0 | typeof EX_CONFIG {
  const result = loadConfig(file, env)
  if (result.ok) {
    stdout.write(renderEffective(result.config))
    return 0
  }
  stderr.write(result.errors.map(issue => `${renderIssue(issue, file)}\n`).join(''))
  return EX_CONFIG
}
