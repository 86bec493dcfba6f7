/** Debian's promtool, where there is one: rules are checked, and tested, by those who evaluate them. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const found = spawnSync('promtool', ['--version'], { encoding: 'utf8' })

/** For `skip`: false, or why. */
export const withoutPromtool: string | false =
  found.status === 0 ? false : 'promtool is not installed: apt-get install prometheus'

export function promtool(
  args: readonly string[],
  files: Readonly<Record<string, string>>,
): { ok: boolean; out: string } {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-rules-'))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const { status, stdout, stderr } = spawnSync('promtool', [...args], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 60_000,
      maxBuffer: 64 * 2 ** 20,
    })
    return { ok: status === 0, out: `${stdout}${stderr}` }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
