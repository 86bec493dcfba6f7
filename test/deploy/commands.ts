/** Which commands this hopgate has; those that deploy/ calls. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './files.ts'

export function hasCommand(name: string): boolean {
  return readFileSync(join(root, 'src/cli.ts'), 'utf8').includes(`hopgate ${name} `)
}

/** For `{ skip }`. */
export function withoutCommand(name: string): string | false {
  return hasCommand(name) ? false : `SKIPPED: this hopgate has no command "${name}", which deploy/ calls`
}
