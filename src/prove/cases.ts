/** Everything that is to be proven of a configuration, as data; nothing has run yet. */
import type { Config } from '../config/config.ts'
import { nameOf, type ProveCase, subjectOf, type Unproven } from './case.ts'
import { abortCases, failureCases, listenerCases } from './other-cases.ts'
import { timeoutCases } from './timeout-cases.ts'

export interface Selection {
  /** The name of one route. */
  readonly route?: string | undefined
  /** A word that the name of the case must have: a timeout, a stage, an outcome, `leaves`. */
  readonly only?: string | undefined
}

export interface Cases {
  readonly cases: readonly ProveCase[]
  readonly unproven: readonly Unproven[]
}

/** Timeouts of all routes, then who leaves when, then failures; the order of the report. */
export function enumerateCases(config: Config, { route, only }: Selection = {}): Cases {
  const routes = config.routes.filter(({ name }) => route === undefined || name === route)
  const subjects = routes.map(each => subjectOf(config, each))
  const made = [timeoutCases, abortCases, failureCases].flatMap(make => subjects.map(make))
  const cases = made.flatMap(each => each.cases)
  if (route === undefined) cases.push(...listenerCases(config))
  const wanted = (name: string): boolean => only === undefined || name.split(/[\s.]+/).includes(only) || name === only
  return {
    cases: cases.filter(each => wanted(nameOf(each)) || wanted(each.word) || wanted(each.kind)),
    unproven: made
      .flatMap(each => each.unproven)
      .filter(({ word }) => wanted(word) || only === 'timeout')
      .sort((a, b) => a.word.localeCompare(b.word)),
  }
}
