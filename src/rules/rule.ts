/** Alerts as data, and the Prometheus rule file that they are written to. */

/** `page`: somebody is to be woken. `ticket`: somebody is to look at it in the morning. */
export type Severity = 'page' | 'ticket'

export interface Alert {
  readonly alert: string
  /** PromQL. */
  readonly expr: string
  /** Milliseconds that it must hold before it fires, before scaling. */
  readonly forMs: number
  readonly severity: Severity
  /** With `{{ $value }}` and `{{ $labels.route }}`. */
  readonly summary: string
  /** A page of docs/ with its anchor: `OUTCOMES.md#client_abort`. */
  readonly runbook: string
  readonly labels?: Readonly<Record<string, string>>
}

export interface AlertGroup {
  readonly name: string
  readonly alerts: readonly Alert[]
}

/** What the operator chooses. */
export interface RuleOptions {
  /** All windows and waiting times are multiplied by it: 1, or less to see alerts fire in a test. */
  readonly scale: number
  /** Where the pages of docs/ are served, without a final slash. */
  readonly runbooks: string
}

/** A PromQL duration: `5m`, `1h30m` is written `90m`; never below 1 s. */
export function promDuration(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000))
  if (seconds % 3600 === 0) return `${seconds / 3600}h`
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`
}

/** A string in PromQL, which takes Go's escapes; JSON's are among them. */
export function promString(text: string): string {
  return JSON.stringify(text)
}

/** For `=~`: RE2, anchored by Prometheus. */
export function promRegex(names: readonly string[]): string {
  return promString(names.map(name => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|'))
}

/** YAML: expressions as literal blocks, every other text as JSON, which YAML contains. */
export function renderRules(groups: readonly AlertGroup[], header: string, { scale, runbooks }: RuleOptions): string {
  const text = groups.map(({ name, alerts }) => {
    const rules = alerts.map(alert => {
      const { expr, severity, summary, runbook, labels = {} } = alert
      const allLabels = { severity, ...labels }
      return [
        `      - alert: ${alert.alert}`,
        '        expr: |',
        ...expr.split('\n').map(line => `          ${line}`.trimEnd()),
        `        for: ${alert.forMs === 0 ? '0s' : promDuration(alert.forMs * scale)}`,
        '        labels:',
        ...Object.entries(allLabels).map(([key, value]) => `          ${key}: ${JSON.stringify(value)}`),
        '        annotations:',
        `          summary: ${JSON.stringify(summary)}`,
        `          runbook_url: ${JSON.stringify(`${runbooks}/${runbook}`)}`,
      ].join('\n')
    })
    return [`  - name: ${name}`, '    rules:', ...rules].join('\n')
  })
  const comment = header.split('\n').map(line => `# ${line}`.trimEnd())
  return `${[...comment, 'groups:', ...text].join('\n')}\n`
}
