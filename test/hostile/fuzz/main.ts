/** `npm run fuzz -- [--seconds N] [--seed S]` */
import { parseArgs } from 'node:util'
import { fuzz, type Tally } from './run.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } })
const seconds = Number(values.seconds ?? 60)
const seed = Number(values.seed ?? Date.now() % 2 ** 31)
const show = ({ rounds, messages, exchanges }: Tally): string =>
  `${rounds} rounds, ${messages} connections, ${exchanges} exchanges`

process.stdout.write(`fuzzing for ${seconds} s from seed ${seed}\n`)
const total = await fuzz(seconds, seed, (tally, each) => process.stdout.write(`seed ${each} is done: ${show(tally)}\n`))
process.stdout.write(`nothing found: ${show(total)}\n`)
