/** `hopgate demo`: the gateway with backends of its own that misbehave, and a list of things to try. */
import { loadConfig } from '../config/load.ts'
import { renderIssue } from '../config/render.ts'
import { BackendFailed, startBackends } from '../demo/backends.ts'
import { renderThingsToTry } from '../demo/things-to-try.ts'
import type { CommandIo } from './io.ts'
import { serve } from './run.ts'

const EXIT_CONFIG = 78

export async function demo(configFile: string, io: CommandIo): Promise<number> {
  const result = loadConfig(configFile, io.env)
  if (!result.ok) {
    for (const issue of result.errors) io.stderr.write(`${renderIssue(issue, configFile)}\n`)
    return EXIT_CONFIG
  }
  let backends: Awaited<ReturnType<typeof startBackends>>
  try {
    backends = await startBackends(result.config.upstreams)
  } catch (error) {
    if (!(error instanceof BackendFailed)) throw error
    io.stderr.write(`hopgate demo: ${error.message}\n`)
    return 1
  }
  const code = await serve(result.config, io, ({ gateway, admin }) => {
    io.stdout.write(renderThingsToTry(`http://127.0.0.1:${gateway}`, `http://127.0.0.1:${admin}`))
  })
  await backends.close()
  return code
}
