/** `npx tsx src/config/generate.ts`: writes what is made from the schema. A test says when it must be run again. */
import { writeFileSync } from 'node:fs'
import { generated, repositoryFile } from './generated.ts'

for (const [name, text] of generated()) writeFileSync(repositoryFile(name), text)
