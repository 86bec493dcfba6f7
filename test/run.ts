/** Runs every test file below test/, or those named: `npm test -- test/exchange/abort.test.ts`. */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const named = process.argv.slice(2)
const files =
  named.length > 0
    ? named
    : readdirSync(here, { recursive: true, encoding: 'utf8' })
        .filter(file => file.endsWith('.test.ts'))
        .sort()
        .map(file => `${here}${file}`)

// Two files at a time: more would only fight for the cores, and the tests hold real sockets to real clocks.
const child = spawn(
  process.execPath,
  ['--import', 'tsx', '--test', '--test-concurrency=2', '--test-timeout=120000', ...files],
  { stdio: 'inherit' },
)
child.on('exit', code => {
  process.exitCode = code ?? 1
})
