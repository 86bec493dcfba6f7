/** `npm run bench:scale`: the tables of docs/SCALING.md. `-- copied shared` for some of the ways only. */
import { HEADER, measure, REPLICAS, row, WAYS } from './plan.ts'

const named = process.argv.slice(2)
const unknown = named.filter(name => !WAYS.some(way => way.name === name))
if (unknown.length > 0) {
  process.stderr.write(
    `bench:scale: no such way: ${unknown.join(', ')}; there are ${WAYS.map(({ name }) => name).join(' ')}\n`,
  )
  process.exit(64)
}
for (const way of WAYS.filter(({ name }) => named.length === 0 || named.includes(name))) {
  process.stdout.write(`**${way.name}**: ${way.says}\n\n${HEADER}\n`)
  for (const replicas of REPLICAS) process.stdout.write(`${row(measure(way, replicas))}\n`)
  process.stdout.write('\n')
}
