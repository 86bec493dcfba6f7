#!/usr/bin/env node
/** The process: arguments, environment, signals, exit codes. The only reader of `process`. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { check } from './commands/check.ts'
import { demo } from './commands/demo.ts'
import type { CommandIo } from './commands/io.ts'
import { prove } from './commands/prove.ts'
import { run } from './commands/run.ts'

const USAGE = `hopgate: a reverse-proxy gateway whose every timeout fires, and says so

  hopgate run   -c FILE   run the gateway
  hopgate check -c FILE   validate a configuration; print every error, or the effective timeouts of every route
  hopgate prove -c FILE   inject a real fault for each timeout of each route, and show what fired, when, and its name
  hopgate demo            run the gateway on the demo configuration, with backends that misbehave

  -c, --config FILE       the configuration
      --route NAME        prove: this route only
      --only WORD         prove: this timeout, stage or outcome only
      --scale FACTOR      prove: all durations times this, for a quick pass (0.1)
      --json FILE         prove: write the result as JSON
      --junit FILE        prove: write the result as JUnit XML
  -h, --help              this text
  -v, --version           the version

exit codes: 0 done, or all proven; 78 the configuration is wrong; 70 ended by its watchdog; 1 anything else
`

/** BSD's EX_CONFIG. */
const EXIT_CONFIG = 78
/** EX_USAGE. */
const EXIT_USAGE = 64

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

const io: CommandIo = {
  version,
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  exit: code => process.exit(code),
  onSignal: (names, listener) => {
    for (const name of names) process.on(name, () => listener(name))
  },
  onFailure: listener => {
    process.on('uncaughtException', error => listener('uncaughtException', error))
    process.on('unhandledRejection', reason => listener('unhandledRejection', reason))
  },
}

async function main(argv: readonly string[]): Promise<number> {
  let parsed: ReturnType<typeof readArguments>
  try {
    parsed = readArguments(argv)
  } catch (error) {
    io.stderr.write(`hopgate: ${(error as Error).message}\n\n${USAGE}`)
    return EXIT_USAGE
  }
  const { values, positionals } = parsed
  if (values.version === true) {
    io.stdout.write(`${version}\n`)
    return 0
  }
  const [command, extra] = positionals
  if (values.help === true || command === 'help') {
    io.stdout.write(USAGE)
    return 0
  }
  if (command === undefined || extra !== undefined) {
    io.stderr.write(USAGE)
    return EXIT_USAGE
  }
  if (command === 'demo') return demo(fileURLToPath(new URL('../config/demo.yaml', import.meta.url)), io)
  if (command !== 'run' && command !== 'check' && command !== 'prove') {
    io.stderr.write(`hopgate: no such command: ${command}\n\n${USAGE}`)
    return EXIT_USAGE
  }
  if (values.config === undefined) {
    io.stderr.write(`hopgate ${command}: -c FILE is missing\n`)
    return EXIT_CONFIG
  }
  if (command === 'prove') {
    const { config: file, route, only, scale, json, junit } = values
    const code = await prove({ file, route, only, scale, json, junit }, io)
    // Faults that hang by design, a black-holed dial, must not hold the exit.
    io.exit(code)
    return code
  }
  return command === 'run' ? run(values.config, io) : check({ file: values.config }, io)
}

function readArguments(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      route: { type: 'string' },
      only: { type: 'string' },
      scale: { type: 'string' },
      json: { type: 'string' },
      junit: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    },
  })
}

main(process.argv.slice(2)).then(
  code => {
    process.exitCode = code
  },
  error => {
    io.stderr.write(`hopgate: ${(error as Error).stack ?? String(error)}\n`)
    process.exitCode = 1
  },
)
