/**
 * Replays a Dockerfile without an engine: each stage is a folder, COPY copies, RUN runs with this machine's Node. What it
 * shows is that the files the steps need are there, in that order, and that what comes out runs; not that the base image
 * has what they need. RUN with an absolute path is refused: it would leave the folder.
 */
import { execSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'

export interface Instruction {
  readonly name: string
  readonly rest: string
}

interface Stage {
  readonly name: string
  readonly from: string
  readonly folder: string
  workdir: string
  readonly env: Record<string, string>
  entrypoint: readonly string[]
  cmd: readonly string[]
  user: string | null
  healthcheck: string | null
}

export function parseDockerfile(text: string): readonly Instruction[] {
  return text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter(line => line.trim() !== '' && !line.startsWith('#'))
    .map(line => {
      const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
      if (name === '') throw new Error(`not an instruction: ${line}`)
      return { name, rest }
    })
}

/** .dockerignore, as far as this repository uses it: names of the top level, and `*.ending`. */
function ignored(root: string): (path: string) => boolean {
  const patterns = readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .filter(line => line !== '')
  return path =>
    patterns.some(pattern =>
      pattern.startsWith('*') ? path.endsWith(pattern.slice(1)) : path.split('/')[0] === pattern,
    )
}

/**
 * @param folder an empty one
 * @param run what RUN does in place of a shell; default: a shell in the stage's working directory
 * @returns the last stage
 */
export function replay(
  text: string,
  root: string,
  folder: string,
  run: (command: string, cwd: string, env: Readonly<Record<string, string>>) => void = runInShell,
): Stage {
  const stages: Stage[] = []
  const isIgnored = ignored(root)
  for (const { name, rest } of parseDockerfile(text)) {
    if (name === 'FROM') {
      const [from = '', as, label = String(stages.length)] = rest.split(/\s+/)
      if (as !== undefined && as !== 'AS') throw new Error(`FROM ${rest}`)
      const place = join(folder, label)
      mkdirSync(place)
      stages.push({
        name: label,
        from,
        folder: place,
        workdir: '/',
        env: {},
        entrypoint: [],
        cmd: [],
        user: null,
        healthcheck: null,
      })
      continue
    }
    const stage = stages.at(-1)
    if (stage === undefined) throw new Error(`${name} before FROM`)
    const cwd = join(stage.folder, stage.workdir)
    switch (name) {
      case 'WORKDIR':
        stage.workdir = rest
        mkdirSync(join(stage.folder, rest), { recursive: true })
        break
      case 'ENV': {
        const [key = '', value = ''] = rest.split('=')
        stage.env[key] = value
        break
      }
      case 'COPY': {
        const words = rest.split(/\s+/)
        const other = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined
        const source = other === undefined ? root : stages.find(({ name: label }) => label === other)?.folder
        if (source === undefined) throw new Error(`COPY from a stage that there is not: ${rest}`)
        const target = words.pop() ?? ''
        for (const file of words) {
          if (other === undefined && isIgnored(file)) throw new Error(`COPY of what .dockerignore leaves out: ${file}`)
          const from = join(source, file)
          if (!existsSync(from)) throw new Error(`COPY of what there is not: ${file}`)
          const into = target.endsWith('/') && !statSync(from).isDirectory() ? join(target, basename(file)) : target
          cpSync(from, target.startsWith('/') ? join(stage.folder, into) : join(cwd, into), {
            recursive: true,
            verbatimSymlinks: true,
          })
        }
        break
      }
      case 'RUN':
        if (/(^|[\s>"'=])\//.test(rest)) throw new Error(`RUN with an absolute path: ${rest}`)
        run(rest, cwd, stage.env)
        break
      case 'ENTRYPOINT':
        Object.assign(stage, { entrypoint: JSON.parse(rest) as string[] })
        break
      case 'CMD':
        Object.assign(stage, { cmd: JSON.parse(rest) as string[] })
        break
      case 'USER':
        stage.user = rest
        break
      case 'HEALTHCHECK':
        stage.healthcheck = rest
        break
      case 'EXPOSE':
      case 'STOPSIGNAL':
        break
      default:
        throw new Error(`an instruction that is not replayed: ${name}`)
    }
  }
  const last = stages.at(-1)
  if (last === undefined) throw new Error('no FROM')
  return last
}

/**
 * `npm ci` is what made this repository's own node_modules: links to its files take a second where unpacking them again
 * takes twenty. With HOPGATE_REPLAY=full, and where links cannot be made (another file system), it is run.
 */
function runInShell(command: string, cwd: string, env: Readonly<Record<string, string>>): void {
  if (command.startsWith('npm ci ') && process.env['HOPGATE_REPLAY'] !== 'full' && linkModules(cwd)) return
  execSync(command, {
    cwd,
    env: { ...process.env, npm_config_prefer_offline: 'true', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 110_000,
  })
}

function linkModules(cwd: string): boolean {
  const source = realpathSync(new URL('../../node_modules', import.meta.url))
  const target = join(cwd, 'node_modules')
  if (spawnSync('cp', ['-al', source, target], { stdio: 'ignore' }).status !== 0) {
    rmSync(target, { recursive: true, force: true })
    return false
  }
  // npm writes to it; the link would be ours.
  rmSync(join(target, '.package-lock.json'))
  cpSync(join(source, '.package-lock.json'), join(target, '.package-lock.json'))
  return true
}
