/** `hopgate lint -c FILE`: the timeouts here against those of the neighbours, and against what traffic has shown. */
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { lint as lintConfig, renderLint } from '../lint/lint.ts'
import { readTraffic, type Traffic } from '../lint/traffic.ts'
import type { CheckIo } from './check.ts'

const EX_CONFIG = 78
const FETCH_TIMEOUT_MS = 5000

export interface LintArguments {
  readonly file: string
  /** The admin listener of a running hopgate, or its `/metrics`. */
  readonly from?: string | undefined
  readonly json?: boolean | undefined
}

/** The exit code: 0 no errors (warnings may be), 1 errors, or no metrics where some were asked for; 78 a bad configuration. */
export async function lint(
  { file, from, json = false }: LintArguments,
  { stdout, stderr, env }: CheckIo,
): Promise<number> {
  const result = loadConfig(file, env)
  if (!result.ok) {
    for (const issue of result.errors) stderr.write(`${renderIssue(issue, file)}\n`)
    return EX_CONFIG
  }
  const traffic = from === undefined ? null : await fetchTraffic(from)
  if (traffic !== null && 'wrong' in traffic) {
    stderr.write(`--from: ${traffic.wrong} (got ${from}, allowed the address of a running hopgate's admin listener)\n`)
    return 1
  }
  const findings = lintConfig(result, traffic)
  const errors = findings.filter(({ severity }) => severity === 'error').length
  if (json) {
    const { hash } = result.config
    const report = { file, config_hash: hash, errors, warnings: findings.length - errors, findings }
    stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  } else {
    stdout.write(renderLint(findings, file))
  }
  return errors > 0 ? 1 : 0
}

async function fetchTraffic(from: string): Promise<Traffic | { readonly wrong: string }> {
  try {
    const url = new URL(/^https?:\/\//i.test(from) ? from : `http://${from}`)
    if (url.pathname === '/') url.pathname = '/metrics'
    const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) })
    if (!response.ok) return { wrong: `${url.pathname} answered ${response.status}` }
    return readTraffic(await response.text()) ?? { wrong: 'these are not the metrics of a hopgate' }
  } catch (error) {
    const { message, cause } = error as Error & { cause?: { code?: string; message?: string } }
    return { wrong: `the metrics cannot be read: ${cause?.code ?? cause?.message ?? message}` }
  }
}
