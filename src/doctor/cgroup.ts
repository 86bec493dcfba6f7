/** The limits of the control group that this process is in: version 2, or 1. */
import { type Machine, readNumber } from './machine.ts'

export interface CgroupLimits {
  /** Bytes; null: none. */
  readonly memoryBytes: number | null
  /** CPUs' worth of time; null: no quota. */
  readonly cpus: number | null
}

/** Version 1 writes "no limit" as the largest number of pages. */
const NO_LIMIT_BYTES = 2 ** 60

export function cgroupLimits(machine: Machine): CgroupLimits {
  const groups = (machine.read('/proc/self/cgroup') ?? '').split('\n').map(line => {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    return { controllers: controllers.split(','), path }
  })
  const pathOf = (controller: string): string =>
    groups.find(({ controllers }) => controllers.includes(controller))?.path ?? '/'
  const memory = [
    ...above('/sys/fs/cgroup', pathOf(''), 'memory.max').map(path => bytes(machine, path)),
    ...above('/sys/fs/cgroup/memory', pathOf('memory'), 'memory.limit_in_bytes').map(path => bytes(machine, path)),
  ]
  const cpus = [
    ...above('/sys/fs/cgroup', pathOf(''), 'cpu.max').map(path => quota(machine.read(path))),
    ...above('/sys/fs/cgroup/cpu', pathOf('cpu'), 'cpu.cfs_quota_us').map(path =>
      quota(`${machine.read(path)} ${machine.read(path.replace('quota', 'period'))}`),
    ),
  ]
  return { memoryBytes: least(memory), cpus: least(cpus) }
}

/** The file in a group and in all groups around it: each of them limits. In a container the root is the group itself. */
function above(root: string, path: string, file: string): readonly string[] {
  const names = path.split('/').filter(name => name !== '' && name !== '..')
  return Array.from({ length: names.length + 1 }, (_, n) => [root, ...names.slice(0, n), file].join('/'))
}

function bytes(machine: Machine, path: string): number | null {
  const value = readNumber(machine, path)
  return value === null || value >= NO_LIMIT_BYTES ? null : value
}

/** `200000 100000`: 2 CPUs. `max 100000` or `-1 100000`: no quota. */
function quota(text: string | null): number | null {
  const [quotaUs, periodUs] = (text ?? '').split(' ').map(Number)
  return quotaUs === undefined || periodUs === undefined || !(quotaUs > 0) || !(periodUs > 0)
    ? null
    : quotaUs / periodUs
}

function least(values: readonly (number | null)[]): number | null {
  const known = values.filter(value => value !== null)
  return known.length === 0 ? null : Math.min(...known)
}
