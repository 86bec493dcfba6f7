#!/usr/bin/env node
/** The process: arguments, environment, signals, exit codes. The only reader of `process`. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { check } from './commands/check.ts'
import { demo } from './commands/demo.ts'
import { doctor } from './commands/doctor.ts'
import { explain } from './commands/explain.ts'
import type { CommandIo } from './commands/io.ts'
import { lint } from './commands/lint.ts'
import { prove } from './commands/prove.ts'
import { rules } from './commands/rules.ts'
import { run } from './commands/run.ts'

const USAGE = `hopgate: a reverse-proxy gateway whose every timeout fires, and says so

  hopgate run   -c FILE   run the gateway
  hopgate check -c FILE   validate a configuration; print every error, or the effective timeouts of every route
  hopgate prove -c FILE   inject a real fault for each timeout of each route, and show what fired, when, and its name
  hopgate lint  -c FILE   compare the timeouts with those of the neighbours, and with what traffic has shown
  hopgate doctor -c FILE  look whether this machine gives what the configuration asks of it
  hopgate explain FILE    tell the failed exchanges of a log as sentences; - or no FILE: standard input
  hopgate rules -c FILE   print the Prometheus alerts for this configuration
  hopgate demo            run the gateway on the demo configuration, with backends that misbehave

  -c, --config FILE       the configuration
      --route NAME        prove: this route only
      --only WORD         prove: this timeout, stage or outcome only
      --scale FACTOR      prove, rules: all durations times this, for a quick pass (0.1)
      --json FILE         prove: write the result as JSON
      --json              lint, doctor: print JSON
      --runbooks URL      rules: where the pages of docs/ are served
      --dial              doctor: open a connection to every endpoint, too
      --from URL          lint: read the metrics of the hopgate whose admin listener is there
      --junit FILE        prove: write the result as JUnit XML
      --request-id ID     explain: this exchange only
      --summary           explain: the top causes, and how long clients waited
  -h, --help              this text
  -v, --version           the version

exit codes: 0 done (prove: all proven; lint, doctor: no error found); 78 the configuration is wrong; 70 ended by its
watchdog; 1 anything else
`

/** BSD's EX_CONFIG. */
const EXIT_CONFIG = 78
/** EX_USAGE. */
const EXIT_USAGE = 64

const NEED_CONFIG = ['run', 'check', 'prove', 'lint', 'doctor', 'rules'] as const
type NeedsConfig = (typeof NEED_CONFIG)[number]
/** The commands whose `--json` prints; that of `prove` names a file. */
const PRINT_JSON: readonly string[] = ['lint', 'doctor']

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
  if (command === 'explain') {
    quietWhenUnread()
    const { config, summary, 'request-id': requestId } = values
    return explain({ files: positionals.slice(1), config, requestId, summary }, { ...io, stdin: process.stdin })
  }
  if (command === undefined || extra !== undefined) {
    io.stderr.write(USAGE)
    return EXIT_USAGE
  }
  if (command === 'demo') return demo(fileURLToPath(new URL('../config/demo.yaml', import.meta.url)), io)
  if (!needsConfig(command)) {
    io.stderr.write(`hopgate: no such command: ${command}\n\n${USAGE}`)
    return EXIT_USAGE
  }
  if (values.config === undefined) {
    io.stderr.write(`hopgate ${command}: -c FILE is missing\n`)
    return EXIT_CONFIG
  }
  return perform(command, values.config, values)
}

function needsConfig(command: string): command is NeedsConfig {
  return (NEED_CONFIG as readonly string[]).includes(command)
}

async function perform(command: NeedsConfig, file: string, values: Values): Promise<number> {
  switch (command) {
    case 'run':
      return run(file, io)
    case 'check':
      return check({ file }, io)
    case 'lint':
      return lint({ file, from: values.from, json: values.json !== undefined }, io)
    case 'doctor':
      return doctor({ file, dial: values.dial, json: values.json !== undefined }, io)
    case 'rules':
      return rules({ file, scale: values.scale, runbooks: values.runbooks }, io)
    case 'prove': {
      const { route, only, scale, json, junit } = values
      const code = await prove({ file, route, only, scale, json: json === true ? undefined : json, junit }, io)
      // Faults that hang by design, a black-holed dial, must not hold the exit.
      io.exit(code)
      return code
    }
  }
}

/** `hopgate explain FILE | head`: whoever reads has seen enough. */
function quietWhenUnread(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
}

type Values = ReturnType<typeof readArguments>['values']

function readArguments(argv: readonly string[]) {
  const printsJson = argv.some(word => PRINT_JSON.includes(word))
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      route: { type: 'string' },
      only: { type: 'string' },
      scale: { type: 'string' },
      json: { type: printsJson ? 'boolean' : 'string' },
      from: { type: 'string' },
      runbooks: { type: 'string' },
      dial: { type: 'boolean' },
      'request-id': { type: 'string' },
      summary: { type: 'boolean' },
      junit: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    },
  })
  return { values: { ...values, json: values.json as string | true | undefined }, positionals }
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
