/** The files that are made from the schema: their names and texts. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { jsonSchema } from './json-schema.ts'
import { reference } from './reference.ts'

/** Names are below the repository. */
export const repositoryFile = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))

/** As the formatter of this repository writes JSON: a list of plain values on one line. */
function formatted(json: object): string {
  return JSON.stringify(json, null, 2).replace(
    /\[\n\s+([^[\]{}]*?)\n\s+\]/g,
    (_, items: string) => `[${items.replace(/\n\s+/g, ' ')}]`,
  )
}

/** File name below the repository -> its text. */
export function generated(): ReadonlyMap<string, string> {
  return new Map([
    ['config/hopgate.schema.json', `${formatted(jsonSchema())}\n`],
    ['docs/CONFIGURATION.md', reference(readFileSync(repositoryFile('config/example.yaml'), 'utf8'))],
  ])
}
