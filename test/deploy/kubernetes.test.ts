/** deploy/kubernetes: what an API server would refuse, and what it would take and then not work. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ENVIRONMENT } from '../../deploy/rules.ts'
import { withoutCommand } from './commands.ts'
import { configOf, documents, filesBelow, onlyDocument, program, root, text, without } from './files.ts'
import { type Manifest, mistakesOf } from './strict.ts'

const BASE = 'deploy/kubernetes/base'
const OVERLAY = 'deploy/kubernetes/overlays/production'
const withoutLint = withoutCommand('lint')

interface Kustomization {
  readonly resources: readonly string[]
  readonly configMapGenerator: readonly {
    readonly name: string
    readonly files?: readonly string[]
    readonly literals?: readonly string[]
  }[]
}

const kustomization = onlyDocument<Kustomization>(`${BASE}/kustomization.yaml`)
const base = kustomization.resources.flatMap(file => documents<Manifest>(text(`${BASE}/${file}`), file))

function the(kind: string, from: readonly Manifest[] = base, name = 'hopgate'): Manifest {
  const found = from.filter(manifest => manifest.kind === kind && manifest.metadata.name === name)
  assert.equal(found.length, 1, `one ${kind} ${name}`)
  return found[0] as Manifest
}

const pod = the('Deployment')['spec'].template
const container = pod.spec.containers[0]
const ports = container.ports as readonly { readonly name: string; readonly containerPort: number }[]
const podLabels = pod.metadata.labels as Readonly<Record<string, string>>

const selects = (selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>> = {}): boolean =>
  Object.keys(selector).length > 0 && Object.entries(selector).every(([key, value]) => labels[key] === value)

function render(t: TestContext, overlay: string): readonly Manifest[] {
  const kubectl = program('kubectl')
  assert.ok(kubectl !== undefined)
  const yaml = execFileSync(kubectl, ['kustomize', overlay], { encoding: 'utf8', timeout: 60_000 })
  t.diagnostic(`${overlay}: ${yaml.length} bytes`)
  return documents<Manifest>(yaml, overlay)
}

/** The restricted profile of the Pod Security Standards, as far as it concerns these pods. */
function assertRestricted(template: typeof pod): void {
  const { securityContext, initContainers, containers, hostNetwork, hostPID } = template.spec
  assert.deepEqual([hostNetwork, hostPID], [undefined, undefined])
  assert.equal(securityContext.runAsNonRoot, true)
  assert.equal(securityContext.seccompProfile.type, 'RuntimeDefault')
  for (const { name, securityContext: own } of [...initContainers, ...containers]) {
    const { allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities } = own
    assert.deepEqual(
      [allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities.drop],
      [false, true, ['ALL']],
      name,
    )
  }
}

test('an API server would take every manifest of the base: known kinds, required fields, types, no unknown field', () => {
  assert.ok(base.length >= 9)
  for (const manifest of base) assert.deepEqual(mistakesOf(manifest), [], `${manifest.kind} ${manifest.metadata.name}`)
})

test('and the check notices: a misspelt field, a wrong type, a missing one', () => {
  const deployment = structuredClone(the('Deployment'))
  deployment['spec'].template.spec.containers[0].readynessProbe = {}
  deployment['spec'].minReadySeconds = '5s'
  delete deployment['spec'].selector
  const mistakes = mistakesOf(deployment).join('\n')
  assert.match(mistakes, /containers\[0\]\.readynessProbe: no such field/)
  assert.match(mistakes, /minReadySeconds must be integer/)
  assert.match(mistakes, /required property selector/)
})

test('every YAML file of deploy/kubernetes is used by a kustomization', () => {
  const used = filesBelow('deploy/kubernetes')
    .filter(file => file.endsWith('kustomization.yaml'))
    .map(text)
    .join('\n')
  const unused = filesBelow('deploy/kubernetes').filter(
    file =>
      file.endsWith('.yaml') && !file.endsWith('kustomization.yaml') && !used.includes(` ${file.split('/').at(-1)}`),
  )
  assert.deepEqual(unused, [])
})

test('whatever selects the pods does select them', () => {
  const deployment = the('Deployment')
  assert.ok(selects(deployment['spec'].selector.matchLabels, podLabels))
  for (const name of ['hopgate', 'hopgate-admin'])
    assert.ok(selects(the('Service', base, name)['spec'].selector, podLabels))
  assert.ok(selects(the('PodDisruptionBudget')['spec'].selector.matchLabels, podLabels))
  assert.ok(selects(the('NetworkPolicy')['spec'].podSelector.matchLabels, podLabels))
  for (const { labelSelector } of pod.spec.topologySpreadConstraints)
    assert.ok(selects(labelSelector.matchLabels, podLabels))
  const { scaleTargetRef, metrics } = the('HorizontalPodAutoscaler')['spec']
  assert.deepEqual(scaleTargetRef, { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name })
  for (const { containerResource } of metrics) {
    assert.equal(containerResource.container, container.name)
    assert.ok(containerResource.name in container.resources.requests, 'utilization is of the request')
  }
  assert.equal(deployment['spec'].replicas, undefined, 'the autoscaler has them')
})

test('the ServiceMonitor scrapes the admin port of each pod once', () => {
  const { selector, endpoints } = the('ServiceMonitor')['spec']
  const services = base.filter(
    ({ kind, metadata }) => kind === 'Service' && selects(selector.matchLabels, metadata.labels),
  )
  assert.deepEqual(
    services.map(({ metadata }) => metadata.name),
    ['hopgate-admin'],
  )
  const [service] = services
  assert.equal(service?.['spec'].publishNotReadyAddresses, true)
  for (const { port, path } of endpoints) {
    assert.equal(path, '/metrics')
    assert.ok(service?.['spec'].ports.some(({ name }: { name: string }) => name === port))
  }
})

test('ports are named that exist, and probes ask for pages that the admin listener has', () => {
  const named = new Set(ports.map(({ name }) => name))
  for (const name of ['hopgate', 'hopgate-admin']) {
    for (const { targetPort } of the('Service', base, name)['spec'].ports) assert.ok(named.has(targetPort), targetPort)
  }
  for (const { ports: allowed } of the('NetworkPolicy')['spec'].ingress) {
    for (const { port } of allowed) assert.ok(named.has(port), port)
  }
  const admin = text('src/admin.ts')
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
    const { path, port } = container[probe].httpGet
    assert.equal(port, 'admin', probe)
    assert.ok(admin.includes(`'${path}'`), `${probe}: ${path}`)
  }
  assert.equal(container.livenessProbe.httpGet.path, '/healthz', 'a pod that drains is well')
  assert.equal(container.readinessProbe.httpGet.path, '/readyz')
})

test('the pods run as a number, without privileges, on a read-only root, and mount what is generated', () => {
  assertRestricted(pod)
  const [, user] = /^USER (\d+):\d+$/m.exec(text('deploy/Dockerfile')) ?? []
  assert.equal(pod.spec.securityContext.runAsUser, Number(user))
  const generated = kustomization.configMapGenerator.map(({ name }) => name)
  assert.deepEqual(generated, [pod.spec.volumes[0].configMap.name, container.envFrom[0].configMapRef.name])
  assert.deepEqual(kustomization.configMapGenerator[0]?.files, ['hopgate.yaml'])
})

test('what is checked and linted before a pod starts is what it runs', () => {
  const { initContainers } = pod.spec
  assert.deepEqual(
    [...initContainers, container].map(({ args }: { args: readonly string[] }) => args[0]),
    ['check', 'lint', 'run'],
  )
  for (const { args, volumeMounts, envFrom, image } of [...initContainers, container]) {
    assert.deepEqual(args.slice(1), ['-c', '/etc/hopgate/hopgate.yaml'])
    assert.deepEqual([volumeMounts, envFrom, image], [container.volumeMounts, container.envFrom, container.image])
  }
  const literals = kustomization.configMapGenerator[1]?.literals ?? []
  assert.deepEqual(
    Object.fromEntries(literals.map(literal => literal.split(/=(.*)/).slice(0, 2))),
    ENVIRONMENT,
    'the rules are made with the same variables',
  )
})

test('its configuration passes, and agrees with the manifests', { skip: withoutLint }, () => {
  const config = configOf(`${BASE}/hopgate.yaml`, ENVIRONMENT)
  const port = (name: string): number | undefined => ports.find(found => found.name === name)?.containerPort
  assert.deepEqual([config.listen.address.port, config.admin.port], [port('http'), port('admin')])
  const drainSeconds = (config.drain.delayMs + config.drain.deadlineMs) / 1000
  assert.ok(pod.spec.terminationGracePeriodSeconds > drainSeconds + 1)
  const { periodSeconds, failureThreshold } = container.readinessProbe
  assert.ok(
    config.drain.delayMs / 1000 > 2 * periodSeconds * failureThreshold,
    'the drain waits for the probe, and more',
  )
  const egress = the('NetworkPolicy')['spec'].egress.at(-1)
  for (const { endpoints } of config.upstreams) {
    for (const { url } of endpoints) {
      const { hostname, port: endpointPort } = new URL(url)
      assert.equal(hostname.split('.')[1], egress.to[0].namespaceSelector.matchLabels['kubernetes.io/metadata.name'])
      assert.equal(Number(endpointPort), egress.ports[0].port)
    }
  }
  const { maxReplicas } = the('HorizontalPodAutoscaler')['spec']
  const stated = /(\d+) x (\d+) = (\d+)/.exec(text(`${BASE}/hopgate.yaml`))
  const slots = config.upstreams[0]?.pool.maxConnections ?? 0
  assert.deepEqual(stated?.slice(1).map(Number), [maxReplicas, slots, maxReplicas * slots], 'the comment on the pool')
})

test('hopgate lint finds nothing in it', { skip: withoutLint }, () => {
  const said = execFileSync(process.execPath, ['--import', 'tsx', 'src/cli.ts', 'lint', '-c', `${BASE}/hopgate.yaml`], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...ENVIRONMENT },
  })
  assert.match(said, /nothing found/)
})

test('the overlay renders to what an API server would take', { skip: without('kubectl', 'kubernetes-client') }, t => {
  const rendered = render(t, join(root, OVERLAY))
  for (const manifest of rendered)
    assert.deepEqual(mistakesOf(manifest), [], `${manifest.kind} ${manifest.metadata.name}`)
  const deployment = the('Deployment', rendered)
  const { containers, initContainers } = deployment['spec'].template.spec
  assertRestricted(deployment['spec'].template)
  assert.equal(new Set([...initContainers, ...containers].map(({ image }) => image)).size, 1, 'one image')
  assert.match(containers[0].image, /^registry\.example\.com\/.*:\d/, 'with a tag')
  for (const { kind, metadata } of rendered) {
    if (kind !== 'Namespace') assert.equal((metadata as { namespace?: string }).namespace, 'hopgate', kind)
  }
  const maps = rendered.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata }) => metadata.name)
  assert.ok(maps.includes(deployment['spec'].template.spec.volumes[0].configMap.name), 'the hashed name')
  const { minReplicas, maxReplicas } = the('HorizontalPodAutoscaler', rendered)['spec']
  assert.ok(minReplicas > 1 && maxReplicas >= minReplicas)
})

test('the component somaxconn adds its sysctl, and nothing else', {
  skip: without('kubectl', 'kubernetes-client'),
}, t => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-kustomize-'))
  t.after(() => rmSync(folder, { recursive: true }))
  cpSync(join(root, 'deploy/kubernetes'), folder, { recursive: true })
  writeFileSync(join(folder, 'kustomization.yaml'), 'resources: [base]\ncomponents: [components/somaxconn]\n')
  const deployment = the('Deployment', render(t, folder))
  assert.deepEqual(mistakesOf(deployment), [])
  const { sysctls, ...rest } = deployment['spec'].template.spec.securityContext
  assert.deepEqual(sysctls, [{ name: 'net.core.somaxconn', value: '4096' }])
  assert.deepEqual(rest, pod.spec.securityContext)
})

test('Prometheus takes the rules of the PrometheusRule', {
  skip: without('promtool', 'apt-get install prometheus'),
}, t => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-rules-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'rules.json')
  writeFileSync(file, JSON.stringify(the('PrometheusRule')['spec']))
  const said = execFileSync(program('promtool') as string, ['check', 'rules', file], { encoding: 'utf8' })
  assert.match(said, /SUCCESS: \d+ rules found/)
})
