/** Debian's Prometheus, where there is one, as a server of the test's own. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { folderOf, freePort } from '../gateway/process.ts'

const found = spawnSync('prometheus', ['--version'], { encoding: 'utf8' })

/** For `skip`: false, or why. */
export const withoutPrometheus: string | false =
  found.status === 0 ? false : 'prometheus is not installed: apt-get install prometheus'

export interface ActiveAlert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly state: 'pending' | 'firing'
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: number
}

export interface Prometheus {
  alerts(): Promise<readonly ActiveAlert[]>
  /** An instant query. Rejects where the expression is wrong. */
  query(expr: string): Promise<readonly Sample[]>
}

/** Scrapes 127.0.0.1:`adminPort` once a second, and evaluates `rules` as often. */
export async function startPrometheus(t: TestContext, adminPort: number, rules: string): Promise<Prometheus> {
  const folder = folderOf(t)
  const port = await freePort()
  mkdirSync(join(folder, 'data'))
  writeFileSync(join(folder, 'rules.yml'), rules)
  writeFileSync(
    join(folder, 'prometheus.yml'),
    `global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [rules.yml]
scrape_configs:
  - job_name: hopgate
    static_configs: [{ targets: ["127.0.0.1:${adminPort}"] }]
`,
  )
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const exited = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)
    const { status, data, error } = (await response.json()) as { status: string; data: unknown; error?: string }
    if (status !== 'success') throw new Error(`${path}: ${error}`)
    return data
  }
  const deadline = performance.now() + 30_000
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/-/ready`).catch(() => undefined)
    await ready?.arrayBuffer()
    if (ready?.status === 200) break
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`prometheus does not start: ${said}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return {
    alerts: async () => ((await get('alerts')) as { alerts: ActiveAlert[] }).alerts,
    query: async expr => {
      const { result } = (await get(`query?query=${encodeURIComponent(expr)}`)) as {
        result: { metric: Record<string, string>; value: [number, string] }[]
      }
      return result.map(({ metric, value: [, text] }) => ({ metric, value: Number(text) }))
    },
  }
}
