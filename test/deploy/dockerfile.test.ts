/** deploy/Dockerfile, replayed in an empty folder. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseDockerfile, replay } from './dockerfile.ts'
import { root, text } from './files.ts'

const dockerfile = text('deploy/Dockerfile')

test('the image: LTS, one Node for build and run, a user by number, node as process 1, health not readiness', () => {
  const instructions = parseDockerfile(dockerfile)
  const froms = instructions.filter(({ name }) => name === 'FROM').map(({ rest }) => rest.split(' ')[0])
  assert.deepEqual(new Set(froms), new Set(['node:24-slim']))
  const one = (name: string): string => instructions.findLast(found => found.name === name)?.rest ?? ''
  assert.equal(one('USER'), '1000:1000')
  assert.deepEqual(JSON.parse(one('ENTRYPOINT')), ['node', 'dist/cli.js'])
  assert.equal(one('STOPSIGNAL'), 'SIGTERM')
  assert.match(one('HEALTHCHECK'), /\/healthz/)
})

test('its steps, in an empty folder: what comes out runs, has no development packages, and knows what is in it', t => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-image-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const stage = replay(dockerfile, root, folder)
  const cwd = join(stage.folder, stage.workdir)
  const [command = '', ...args] = stage.entrypoint
  const { version, dependencies } = JSON.parse(text('package.json')) as {
    version: string
    dependencies: Record<string, string>
  }
  const { packages } = JSON.parse(text('package-lock.json')) as { packages: Record<string, { dev?: boolean }> }
  const hopgate = (...more: string[]): string =>
    execFileSync(command, [...args, ...more], { cwd, encoding: 'utf8', timeout: 60_000 })
  assert.equal(hopgate('--version').trim(), version)
  assert.match(hopgate('check', '-c', 'config/example.yaml'), /route orders/)
  const installed = new Set(readdirSync(join(cwd, 'node_modules')))
  for (const name of Object.keys(dependencies)) assert.ok(installed.has(name), name)
  const development = Object.keys(packages).filter(place => packages[place]?.dev === true)
  assert.ok(development.length > 10)
  assert.deepEqual(
    development.filter(place => existsSync(join(cwd, place))),
    [],
  )
  const bill = JSON.parse(readFileSync(join(cwd, 'sbom.cdx.json'), 'utf8')) as {
    bomFormat: string
    components: readonly { name: string; version: string }[]
  }
  assert.equal(bill.bomFormat, 'CycloneDX')
  for (const [name, wanted] of Object.entries(dependencies)) {
    assert.equal(bill.components.find(component => component.name === name)?.version, wanted, name)
  }
})

test("the image's health check says 0 to a server that is well, 1 to one that is not", async t => {
  const [, command = ''] =
    /HEALTHCHECK.*?CMD (\[.*\])$/s.exec(
      dockerfile
        .replaceAll(/\\\n\s*/g, '')
        .split('\n')
        .find(line => line.startsWith('HEALTHCHECK')) ?? '',
    ) ?? []
  const [node = '', ...args] = JSON.parse(command) as string[]
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-health-'))
  t.after(() => rmSync(folder, { recursive: true }))
  // In place of the port of the image, one that is free; its answers are by the path.
  const server = join(folder, 'server.mjs')
  writeFileSync(
    server,
    `import { createServer } from 'node:http'
     let status = 200
     createServer((req, res) => { res.statusCode = req.url === '/healthz' ? status : 404; res.end(); status = 503 })
       .listen(0, '127.0.0.1', function () { process.stdout.write(String(this.address().port)) })`,
  )
  const child = spawn(process.execPath, [server], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const [port] = (await once(child.stdout, 'data')) as [Buffer]
  const ask = async (at: string): Promise<unknown> => {
    const asked = spawn(
      node,
      args.map(arg => arg.replace('127.0.0.1:9464', `127.0.0.1:${at}`)),
      { stdio: 'ignore' },
    )
    const [code] = (await once(asked, 'exit')) as [number]
    return code
  }
  assert.equal(await ask(port.toString()), 0, '200')
  assert.equal(await ask(port.toString()), 1, '503')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.equal(await ask(port.toString()), 1, 'nobody there')
})

test('a Dockerfile that copies what is not there, or is left out, or runs outside of its folder, is refused', t => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-bad-image-'))
  t.after(() => rmSync(folder, { recursive: true }))
  let n = 0
  const refuse = (line: string, why: RegExp): void => {
    assert.throws(() => replay(`FROM node AS s${n++}\n${line}`, root, folder, () => undefined), why)
  }
  refuse('COPY nothing ./', /what there is not/)
  refuse('COPY node_modules ./node_modules', /\.dockerignore/)
  refuse('COPY --from=other /x ./', /stage that there is not/)
  refuse('RUN rm -rf /tmp/x', /absolute path/)
  refuse('VOLUME /data', /not replayed/)
})
