import type { Route } from './peers.ts'

/**
 * Fills in a configuration of peers/: `{{key}}` is a value, and what stands between `#@ each WHICH` and `#@ end` is
 * repeated for each route. WHICH is `case` (all), `plain` or `tls`.
 */
export function fill(template: string, routes: readonly Route[], values: Readonly<Record<string, string>>): string {
  const put = (text: string, more: Readonly<Record<string, string>>): string =>
    text.replace(/\{\{(\w+)\}\}/g, (whole, key: string) => more[key] ?? values[key] ?? whole)
  const repeated = template.replace(
    /^#@ each (case|plain|tls)\n(.*?)^#@ end\n/gms,
    (_, which: string, section: string) =>
      routes
        .filter(({ tls }) => which === 'case' || tls === (which === 'tls'))
        .map(({ name, port }) => put(section, { name, port: String(port) }))
        .join(''),
  )
  return put(repeated, {})
}
