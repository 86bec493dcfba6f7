// Loaded into a gateway's process by `--import busy.mjs?HOW,MS`: SIGUSR2 holds its event loop for so long, in JavaScript
// (`js`) or in a synchronous call (`native`). Says on stderr when it begins and ends.
import { execFileSync } from 'node:child_process'
import { writeSync } from 'node:fs'

const [how, ms] = new URL(import.meta.url).search.slice(1).split(',')

function handlerThatDoesNotReturn() {
  writeSync(2, 'busy\n')
  if (how === 'native') execFileSync('sleep', [String(Number(ms) / 1000)])
  const end = Date.now() + Number(ms)
  while (how !== 'native' && Date.now() < end);
  writeSync(2, 'free\n')
}

process.on('SIGUSR2', handlerThatDoesNotReturn)
