/** `hopgate rules -c FILE`: the Prometheus rule file for this configuration, on standard output. */
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { ruleFile } from '../rules/rules.ts'
import type { CheckIo } from './check.ts'

const EX_CONFIG = 78

export interface RulesArguments {
  readonly file: string
  /** As typed. */
  readonly scale?: string | undefined
  /** Where docs/ is served. */
  readonly runbooks?: string | undefined
}

/** The exit code: 0, or 78 for a configuration, or a scale, that is wrong. */
export function rules(
  { file, scale = '1', runbooks = 'docs' }: RulesArguments,
  { stdout, stderr, env, version }: CheckIo & { readonly version: string },
): 0 | typeof EX_CONFIG {
  const result = loadConfig(file, env)
  if (!result.ok) {
    for (const issue of result.errors) stderr.write(`${renderIssue(issue, file)}\n`)
    return EX_CONFIG
  }
  const factor = Number(scale)
  if (!(factor > 0 && factor <= 1)) {
    stderr.write(`--scale: not a factor (got ${scale}, allowed above 0, at most 1)\n`)
    return EX_CONFIG
  }
  stdout.write(ruleFile(result.config, version, { scale: factor, runbooks: runbooks.replace(/\/+$/, '') }))
  return 0
}
