import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../harness/bench.ts'
import type { Results } from '../perform.ts'

/** One line of JSON; its name keeps it from the linter. @returns the file, relative to the repository */
export function saveRaw(results: Results): string {
  const file = join('bench', 'results', `${results.when.replaceAll(':', '-')}.jsonl`)
  mkdirSync(join(root, 'bench', 'results'), { recursive: true })
  writeFileSync(join(root, file), `${JSON.stringify(results)}\n`)
  return file
}
