/**
 * `npm run deploy:rules`: what `hopgate rules` prints for the configurations of deploy/, written to where Prometheus and
 * its operator read it. `-- --runbooks URL` for alerts that link to where your people read docs/.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))

export interface RuleTarget {
  /** Both from the root of the repository. */
  readonly config: string
  readonly file: string
  /** Of windows and waiting times: whoever looks at the incidents of compose.yaml does not want to wait for 5 minutes. */
  readonly scale: string
  /** The rule file -> the file. */
  readonly wrap: (rules: string) => string
}

export const RULE_TARGETS: readonly RuleTarget[] = [
  {
    config: 'deploy/compose/hopgate.yaml',
    file: 'deploy/compose/hopgate.rules.yml',
    scale: '0.2',
    wrap: rules => rules,
  },
  {
    config: 'deploy/kubernetes/base/hopgate.yaml',
    file: 'deploy/kubernetes/base/prometheusrule.yaml',
    scale: '1',
    wrap: asPrometheusRule,
  },
]

/** The custom resource of the Prometheus operator: the groups under `spec`, the comments above all. */
function asPrometheusRule(rules: string): string {
  const lines = rules.trimEnd().split('\n')
  const comments = lines.filter(line => line.startsWith('#'))
  const groups = lines.filter(line => !line.startsWith('#')).map(line => (line === '' ? '' : `  ${line}`))
  return `${[
    ...comments,
    'apiVersion: monitoring.coreos.com/v1',
    'kind: PrometheusRule',
    'metadata:',
    '  name: hopgate',
    '  labels:',
    '    app.kubernetes.io/name: hopgate',
    'spec:',
    ...groups,
  ].join('\n')}\n`
}

/** The variables that the configurations cannot do without; their values are in no rule. */
export const ENVIRONMENT = { ORDERS_URL: 'http://orders.shop.svc.cluster.local:8080' }

/** Throws where there is no `hopgate rules`, or the configuration is wrong; its message is what was on stderr. */
export function renderTarget({ config, scale, wrap }: RuleTarget, runbooks: readonly string[] = []): string {
  const rules = execFileSync(
    process.execPath,
    ['--import', 'tsx', 'src/cli.ts', 'rules', '-c', config, '--scale', scale, ...runbooks],
    {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], ...ENVIRONMENT },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  return wrap(rules)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { runbooks: { type: 'string' } } })
  for (const target of RULE_TARGETS) {
    const text = renderTarget(target, values.runbooks === undefined ? [] : ['--runbooks', values.runbooks])
    const path = join(root, target.file)
    let before = ''
    try {
      before = readFileSync(path, 'utf8')
    } catch {
      // The first time.
    }
    writeFileSync(path, text)
    process.stdout.write(`${target.file}: ${text === before ? 'as it was' : 'written'}\n`)
  }
}
