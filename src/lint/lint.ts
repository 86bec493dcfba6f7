/** Every rule over a configuration; what is disabled taken out, what routes share told once. */
import type { ConfigResult } from '../config/load.ts'
import { locate } from '../config/source.ts'
import { didYouMean, quote } from '../config/words.ts'
import { readDisabled } from './disable.ts'
import type { Found, Rule, Severity } from './rule.ts'
import {
  clientKeepaliveAboveFront,
  deadlineBelowFront,
  drainCoversDeadline,
  drainInsideGrace,
  frontIsStated,
  streamIdleBelowFront,
} from './rules-front.ts'
import {
  connectSurvivesLostSyn,
  deadlineNotOff,
  finishIsBounded,
  stagesWithinDeadline,
  streamingHasBodyIdle,
  timeoutsAbove100ms,
} from './rules-own.ts'
import { callersOutlastDeadline, poolKeepaliveBelowSeen } from './rules-traffic.ts'
import { poolKeepaliveBelowUpstream, poolWithinAcceptBacklog, responseHeadersAboveUpstream } from './rules-upstream.ts'
import type { Traffic } from './traffic.ts'

/** About the comments themselves, so that a rule's misspelt name does not silence nothing unnoticed. */
export const DISABLE_NAMES_A_RULE = 'disable-names-a-rule'

/** From the front to the upstream, then what traffic has shown: the order of docs/LINT.md. */
export const RULES: readonly Rule[] = [
  deadlineBelowFront,
  streamIdleBelowFront,
  clientKeepaliveAboveFront,
  frontIsStated,
  drainInsideGrace,
  drainCoversDeadline,
  stagesWithinDeadline,
  deadlineNotOff,
  streamingHasBodyIdle,
  timeoutsAbove100ms,
  connectSurvivesLostSyn,
  finishIsBounded,
  poolKeepaliveBelowUpstream,
  poolWithinAcceptBacklog,
  responseHeadersAboveUpstream,
  callersOutlastDeadline,
  poolKeepaliveBelowSeen,
]

export interface LintFinding {
  readonly rule: string
  readonly severity: Severity
  /** YAML path. */
  readonly path: string
  /** 1-based; of the value, or of what is nearest around it where nothing was written. */
  readonly line: number
  readonly column: number
  readonly message: string
  /** The routes it holds for; empty where it is no route's. */
  readonly routes: readonly string[]
}

/** @param traffic of a running gateway; null: the rules about traffic find nothing */
export function lint(
  { config, source }: Extract<ConfigResult, { readonly ok: true }>,
  traffic: Traffic | null,
): readonly LintFinding[] {
  const disabled = readDisabled(source.text)
  const findings = new Map<string, LintFinding>()
  for (const rule of RULES) {
    for (const found of rule.check(config, traffic)) {
      const place = locate(source.root, ...found.at)
      const route = found.route === undefined ? undefined : config.routes[found.route]
      const routeLine = route === undefined ? place.line : locate(source.root, 'routes', found.route ?? 0).line
      if (disabled.at(rule.id, place.line) || disabled.at(rule.id, routeLine)) continue
      const finding = findingOf(rule, found, place)
      const key = `${rule.id} ${place.path} ${place.line}:${place.column} ${finding.severity} ${found.message}`
      const routes = [...(findings.get(key)?.routes ?? []), ...(route === undefined ? [] : [route.name])]
      findings.set(key, { ...finding, routes })
    }
  }
  const all = [...findings.values(), ...unknownNames(disabled.named)]
  return all.sort((a, b) => a.line - b.line || a.column - b.column)
}

function findingOf(
  rule: Rule,
  { message, severity = rule.severity }: Found,
  { path, line, column }: { readonly path: string; readonly line: number; readonly column: number },
): LintFinding {
  return { rule: rule.id, severity, path, line, column, message, routes: [] }
}

function unknownNames(named: readonly { readonly rule: string; readonly line: number }[]): readonly LintFinding[] {
  const known = RULES.map(({ id }) => id)
  return named
    .filter(({ rule }) => !known.includes(rule))
    .map(({ rule, line }) => {
      const got = rule === '' ? 'nothing' : quote(rule)
      return {
        rule: DISABLE_NAMES_A_RULE,
        severity: 'warning',
        path: '(comment)',
        line,
        column: 1,
        message: `no such rule${didYouMean(rule, known)} (got ${got}, wanted a rule of docs/LINT.md)`,
        routes: [],
      } as const
    })
}

const MOST_ROUTES_NAMED = 5

/** One line for each, and one that counts them. */
export function renderLint(findings: readonly LintFinding[], file: string): string {
  const lines = findings.map(({ rule, severity, path, line, column, message, routes }) => {
    return `${severity.padEnd(7)}  ${path}: ${message}${namesOf(routes)} [${file}:${line}:${column}] ${rule}`
  })
  const errors = findings.filter(({ severity }) => severity === 'error').length
  const warnings = findings.length - errors
  const sum = findings.length === 0 ? 'nothing found' : `${counted(errors, 'error')}, ${counted(warnings, 'warning')}`
  return `${[...lines, `${file}: ${sum}, by ${RULES.length} rules`].join('\n')}\n`
}

function namesOf(routes: readonly string[]): string {
  if (routes.length === 0) return ''
  const more = routes.length - MOST_ROUTES_NAMED
  const named = routes.slice(0, MOST_ROUTES_NAMED).join(', ')
  return `; route${routes.length === 1 ? '' : 's'} ${named}${more > 0 ? ` and ${more} more` : ''}`
}

function counted(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? '' : 's'}`
}
