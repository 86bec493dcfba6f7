/** All examinations of the machine that a configuration is to run on, and how they are printed. */
import type { Config } from '../config/config.ts'
import { type Finding, type Level, note } from './finding.ts'
import type { Machine } from './machine.ts'
import { abortOnOverflow, backlog, conntrack, ports, synQueue } from './network-checks.ts'
import { clock, cpu, memory, nofile, threadpool } from './process-checks.ts'
import { dials, names } from './reach.ts'
import { logDestination, nodeOptions } from './surroundings.ts'

type Check = (config: Config, machine: Machine) => readonly Finding[]

const ANYWHERE: readonly Check[] = [threadpool, logDestination, nodeOptions]
const LINUX: readonly Check[] = [backlog, synQueue, abortOnOverflow, nofile, ports, conntrack, memory, cpu, clock]

/** What costs a few small reads and no waiting: for the start of the gateway. */
export function examine(config: Config, machine: Machine): readonly Finding[] {
  if (machine.platform !== 'linux')
    return [otherPlatform(machine), ...ANYWHERE.flatMap(check => check(config, machine))]
  return [...LINUX, ...ANYWHERE].flatMap(check => check(config, machine))
}

function otherPlatform({ platform }: Machine): Finding {
  return note(
    'platform',
    `this is ${platform}`,
    "backlog, SYN queue, open files, ports, connection tracking, memory, CPU and clock were not looked at: that is read from /proc and /sys, which are Linux's",
  )
}

/** @param dial also a TCP connection to each endpoint */
export async function examineAll(config: Config, machine: Machine, dial: boolean): Promise<readonly Finding[]> {
  const near = examine(config, machine)
  const far = await Promise.all([names(config, machine), ...(dial ? [dials(config, machine)] : [])])
  return [...near, ...far.flat()]
}

const ORDER: readonly Level[] = ['error', 'warning', 'note', 'ok']

/** The worst first; what is, what it means, what mends it; and a line that counts them. */
export function renderFindings(findings: readonly Finding[]): string {
  const sorted = ORDER.flatMap(level => findings.filter(finding => finding.level === level))
  const blocks = sorted.map(({ check, level, is, means, mend }) => {
    const more = [...(means === '' ? [] : [`means: ${means}`]), ...(mend === '' ? [] : [`mend:  ${mend}`])]
    return [`${level.padEnd(7)}  ${check}: ${is}`, ...more.map(line => `         ${line}`)].join('\n')
  })
  const count = (level: Level): number => findings.filter(finding => finding.level === level).length
  const counted = (level: Level, word: string): string => `${count(level)} ${word}${count(level) === 1 ? '' : 's'}`
  const sum = `${counted('error', 'error')}, ${counted('warning', 'warning')}, ${counted('note', 'note')}, ${count('ok')} fine`
  return `${[...blocks, sum].join('\n')}\n`
}
