/** `hopgate doctor -c FILE`: whether this machine gives what the configuration asks of it. */
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { examineAll, renderFindings } from '../doctor/doctor.ts'
import { type Machine, thisMachine } from '../doctor/machine.ts'
import type { CheckIo } from './check.ts'

const EX_CONFIG = 78

export interface DoctorArguments {
  readonly file: string
  readonly dial?: boolean | undefined
  readonly json?: boolean | undefined
}

/** The exit code: 0 no errors (warnings may be), 1 errors, 78 a bad configuration. */
export async function doctor(
  { file, dial = false, json = false }: DoctorArguments,
  { stdout, stderr, env }: CheckIo,
  machine: Machine = thisMachine(env),
): Promise<number> {
  const result = loadConfig(file, env)
  if (!result.ok) {
    for (const issue of result.errors) stderr.write(`${renderIssue(issue, file)}\n`)
    return EX_CONFIG
  }
  const findings = await examineAll(result.config, machine, dial)
  const count = (wanted: string): number => findings.filter(({ level }) => level === wanted).length
  const [errors, warnings] = [count('error'), count('warning')]
  if (json) {
    const { platform } = machine
    const report = { file, config_hash: result.config.hash, platform, errors, warnings, findings }
    stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  } else {
    stdout.write(renderFindings(findings))
  }
  return errors > 0 ? 1 : 0
}
