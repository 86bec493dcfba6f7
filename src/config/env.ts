/** `${ENV}` and `${ENV:-default}` in the scalars of a configuration. Keys are never expanded. */

import { quote } from './words.ts'

export type Env = Readonly<Record<string, string | undefined>>

export interface Expansion {
  readonly text: string
  /** What cannot be expanded, each as a message; the text is then of no use. */
  readonly wrong: readonly string[]
}

/** In this order: an escape, a well-formed reference, and `${` with anything else behind it. */
const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g

export function mentionsEnv(text: string): boolean {
  return text.includes('${')
}

/** The variables that a configuration text names. */
export function referencedIn(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(REFERENCE)].flatMap(([, name]) => name ?? []))
}

/** As in a shell, the default of `${NAME:-default}` stands in for a variable that is unset or empty. `$${` is a literal `${`. */
export function expandEnv(text: string, env: Env): Expansion {
  const wrong: string[] = []
  const expanded = text.replace(REFERENCE, (reference, name: string | undefined, fallback: string | undefined) => {
    if (reference === '$${') return '${'
    if (name === undefined) {
      wrong.push(
        `a "\${" that begins no reference (got ${quote(text)}, allowed \${NAME}, \${NAME:-default}, or $\${ for the two characters)`,
      )
      return ''
    }
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    if (value === undefined) {
      wrong.push(
        `environment variable ${name} is not set (got \${${name}}, allowed a variable that is set, or \${${name}:-default})`,
      )
    }
    return value ?? ''
  })
  return { text: expanded, wrong }
}

/** The value that YAML's core schema gives to an unquoted scalar of this text (YAML 1.2.2, section 10.3.2). */
export function resolveCore(text: string): string | number | boolean | null {
  if (/^(?:~|null|Null|NULL)?$/.test(text)) return null
  if (/^(?:true|True|TRUE)$/.test(text)) return true
  if (/^(?:false|False|FALSE)$/.test(text)) return false
  if (/^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$/.test(text)) return Number(text)
  if (/^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/.test(text)) return Number(text)
  return text
}
