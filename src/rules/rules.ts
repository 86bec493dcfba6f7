/** A configuration -> the Prometheus rule file that watches it. */
import type { Config } from '../config/config.ts'
import { processAlerts, routeAlerts } from './alerts.ts'
import { type AlertGroup, type RuleOptions, renderRules } from './rule.ts'
import { sloAlerts } from './slo.ts'

/** @param scale of all windows and waiting times */
export function alertGroups(config: Config, scale: number): readonly AlertGroup[] {
  const slo = config.routes.flatMap(route => sloAlerts(route, scale))
  return [
    { name: 'hopgate-routes', alerts: routeAlerts(config, scale) },
    { name: 'hopgate-process', alerts: processAlerts(config, scale) },
    ...(slo.length === 0 ? [] : [{ name: 'hopgate-slo', alerts: slo }]),
  ]
}

/** YAML, for `rule_files` of Prometheus, or under `spec` of a PrometheusRule. @param version of the gateway */
export function ruleFile(config: Config, version: string, options: RuleOptions): string {
  const header = `Made by \`hopgate rules\` ${version} from the configuration ${config.hash}. Changes here are lost.`
  return renderRules(alertGroups(config, options.scale), header, options)
}
