/** What an examination found. */

/**
 * `error`: the configuration asks for what this machine does not give. `warning`: it may fail under load, or is slower
 * than it need be. `note`: worth knowing. `ok`: looked at, and fine.
 */
export type Level = 'error' | 'warning' | 'note' | 'ok'

export interface Finding {
  /** What was looked at: `backlog`, `nofile`, ... */
  readonly check: string
  readonly level: Level
  /** What is. */
  readonly is: string
  /** What that means for this configuration; '' where `is` says it all. */
  readonly means: string
  /** The command, or the line of a manifest, that mends it; '' where there is nothing to mend. */
  readonly mend: string
}

export function ok(check: string, is: string): Finding {
  return { check, level: 'ok', is, means: '', mend: '' }
}

export function note(check: string, is: string, means: string, mend = ''): Finding {
  return { check, level: 'note', is, means, mend }
}

export function warning(check: string, is: string, means: string, mend: string): Finding {
  return { check, level: 'warning', is, means, mend }
}

export function error(check: string, is: string, means: string, mend: string): Finding {
  return { check, level: 'error', is, means, mend }
}
