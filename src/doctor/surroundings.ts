/** What the process was started with: where its output goes, and what its environment asks of Node. */
import { dirname } from 'node:path'
import type { Config } from '../config/config.ts'
import { error, type Finding, note, ok, warning } from './finding.ts'
import type { Machine, Output } from './machine.ts'

export function logDestination(config: Config, machine: Machine): readonly Finding[] {
  const { destination } = config.log
  if (destination !== 'stdout' && destination !== 'stderr') {
    const folder = dirname(destination)
    if (machine.isFolder(folder))
      return [ok('log', `the log goes to the file ${destination}: rotate it, and send SIGHUP`)]
    return [
      error(
        'log',
        `the log goes to ${destination}, and there is no folder ${folder}`,
        'no line will be written, and hopgate_log_sink_up stays 0',
        `mkdir -p ${folder}`,
      ),
    ]
  }
  return outputFinding(destination, machine.output(destination === 'stdout' ? 1 : 2), config)
}

function outputFinding(destination: string, output: Output, { log }: Config): readonly Finding[] {
  const is = `the log goes to ${destination}, which is`
  switch (output) {
    case 'pipe':
    case 'socket':
      return [
        ok(
          'log',
          `${is} a ${output}; if its reader stalls, lines wait in log.buffer, and are then dropped and counted`,
        ),
      ]
    case 'file':
      return [
        note(
          'log',
          `${is} a file`,
          'whoever opened it must rotate it: SIGHUP opens only what log.destination names',
          'log.destination: /var/log/hopgate/hopgate.log',
        ),
      ]
    case 'terminal':
      return [
        note('log', `${is} a terminal`, 'Ctrl-S, or a slow one, fills log.buffer, and lines are dropped and counted'),
      ]
    case 'null':
      return log.access
        ? [
            warning(
              'log',
              `${is} /dev/null`,
              'every line is written, and none can be read',
              'log.destination: a file, or log.access: false',
            ),
          ]
        : [note('log', `${is} /dev/null`, 'what the gateway says of itself is lost')]
    case 'other':
      return [ok('log', `${is} no file and no pipe`)]
    case 'closed':
      return [
        error(
          'log',
          `${is} closed`,
          'no line can be written, and hopgate_log_sink_up stays 0',
          `hopgate run ... ${destination === 'stdout' ? '' : '2'}> /var/log/hopgate.log`,
        ),
      ]
  }
}

interface Surprise {
  readonly option: RegExp
  readonly find: (option: string) => Finding
}

const off = (option: string): string => `take ${option} out of NODE_OPTIONS`

const SURPRISES: readonly Surprise[] = [
  {
    option: /^--insecure-http-parser$/,
    find: option =>
      warning(
        'node_options',
        `NODE_OPTIONS has ${option}`,
        'the listener for clients does not follow it, but the admin listener does, and what else is loaded into this process',
        off(option),
      ),
  },
  {
    option: /^--inspect(-brk|-wait)?(=|$)/,
    find: option =>
      /=(0\.0\.0\.0|\[?::\]?)(:|$)/.test(option)
        ? error(
            'node_options',
            `NODE_OPTIONS has ${option}`,
            'whoever reaches that port runs code in this process',
            off(option),
          )
        : warning(
            'node_options',
            `NODE_OPTIONS has ${option}`,
            'whoever reaches that port on this machine runs code in this process',
            off(option),
          ),
  },
  {
    option:
      /^--(prof|cpu-prof|heap-prof|trace-gc|trace-deopt|trace-opt|trace-events-enabled|track-heap-objects|jitless|interpreted-frames-native-stack)$/,
    find: option => warning('node_options', `NODE_OPTIONS has ${option}`, 'every request is slower by it', off(option)),
  },
  {
    option: /^--tls-min-v1\.[01]$/,
    find: option =>
      warning(
        'node_options',
        `NODE_OPTIONS has ${option}`,
        'connections to upstreams may use a TLS that is broken',
        off(option),
      ),
  },
  {
    option: /^--unhandled-rejections=(none|warn|warn-with-error-code)$/,
    find: option =>
      warning(
        'node_options',
        `NODE_OPTIONS has ${option}`,
        'a bug goes on in place of ending the process in an orderly way',
        off(option),
      ),
  },
  {
    option: /^(--require|-r|--import|--loader|--experimental-loader)(=|$)/,
    find: option =>
      note(
        'node_options',
        `NODE_OPTIONS has ${option}`,
        'what it loads runs in this process, before hopgate does: its cost and its bugs are in every request',
      ),
  },
]

export function nodeOptions(_config: Config, { env }: Machine): readonly Finding[] {
  const options = (env['NODE_OPTIONS'] ?? '').split(/\s+/).filter(word => word !== '')
  const findings = options.flatMap(option => {
    const surprise = SURPRISES.find(each => each.option.test(option))
    return surprise === undefined ? [] : [surprise.find(option)]
  })
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    findings.push(
      warning(
        'node_options',
        'NODE_TLS_REJECT_UNAUTHORIZED is 0',
        'hopgate checks certificates all the same (tls.verify decides); what else is loaded into this process does not',
        'unset NODE_TLS_REJECT_UNAUTHORIZED',
      ),
    )
  }
  for (const name of ['NODE_DEBUG', 'NODE_V8_COVERAGE']) {
    if ((env[name] ?? '') === '') continue
    findings.push(warning('node_options', `${name} is ${env[name]}`, 'every request is slower by it', `unset ${name}`))
  }
  return findings.length > 0
    ? findings
    : [ok('node_options', options.length === 0 ? 'NODE_OPTIONS is empty' : 'nothing in NODE_OPTIONS surprises')]
}
