/**
 * `npm run compare`: every fault case against every proxy that is installed, and docs/comparison.md from what was seen.
 * `npm run compare -- --only NAME` (a proxy or a case, repeatable) prints, and writes nothing.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { answer } from '../src/prove/faults.ts'
import { startUpstream, type Upstream } from '../src/prove/faulty-upstream.ts'
import { requestOnce } from '../src/prove/raw-client.ts'
import { CASES, type Case } from './cases.ts'
import { PEERS, type Peer, startPeer, stopPeer } from './peers.ts'
import { type Column, markdown, table } from './report.ts'
import type { Verdict } from './verdict.ts'

/** So many at once: enough to be done in a minute or two, few enough not to be late for lack of a core. */
const AT_ONCE = 4

const WARM = 'warm'

async function startAll(cases: readonly Case[]): Promise<Map<Case, Upstream>> {
  const upstreams = new Map<Case, Upstream>()
  for (const one of cases) {
    // Certificate faults are made by the upstream's own options.
    const tls = one.tls && one.options === undefined ? { tls: 'good' as const } : one.options
    upstreams.set(one, await startUpstream(one.upstream, tls))
  }
  return upstreams
}

async function judge(one: Case, port: number, upstream: Upstream): Promise<Verdict> {
  try {
    return await one.drive({ port, path: `/${one.name}`, upstream })
  } catch (error) {
    const why = (error as Error).message
    return { seen: why, wrong: [why] }
  }
}

async function measure(peer: Peer, cases: readonly Case[], atOnce: number): Promise<Map<string, Verdict>> {
  const folder = mkdtempSync(join(tmpdir(), 'hopgate-compare-'))
  const upstreams = await startAll(cases)
  const healthy = await startUpstream(answer())
  const routes = [
    ...cases.map(one => ({ name: one.name, port: upstreams.get(one)?.port ?? 0, tls: one.tls === true })),
    { name: WARM, port: healthy.port, tls: false },
  ]
  const running = await startPeer(peer, routes, folder)
  const verdicts = new Map<string, Verdict>()
  const queue = [...cases]
  const worker = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const upstream = upstreams.get(one) as Upstream
      verdicts.set(one.name, await judge(one, running.port, upstream))
    }
  }
  try {
    // A just-in-time compiler, and whatever else is done at first use, is not what is compared.
    for (let n = 0; n < 300; n++)
      await requestOnce(running.port, { path: `/${WARM}`, headers: [['Host', 'localhost']] })
    await Promise.all(Array.from({ length: atOnce }, worker))
    if (running.child.exitCode !== null) throw new Error(`${peer.name} has crashed with ${running.child.exitCode}`)
    return verdicts
  } finally {
    await stopPeer(running)
    for (const upstream of [healthy, ...upstreams.values()]) await upstream.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

const { values } = parseArgs({ options: { only: { type: 'string', multiple: true } } })
const only = values.only ?? []
const wanted = <T extends { readonly name: string }>(all: readonly T[]): readonly T[] => {
  const named = all.filter(({ name }) => only.includes(name))
  return named.length > 0 ? named : all
}

const cases = wanted(CASES)
const columns: Column[] = []
for (const peer of wanted(PEERS)) {
  const version = peer.version()
  if (version === undefined) {
    console.error(`skipped: ${peer.name} (not installed)`)
    columns.push({ peer, version: undefined, verdicts: new Map() })
    continue
  }
  console.error(`${peer.name} ${version}: ${cases.length} cases ...`)
  const verdicts = await measure(peer, cases, AT_ONCE)
  // What went wrong gets a second chance with the machine to itself, and that one counts: noise is nobody's fault.
  const again = cases.filter(({ name }) => verdicts.get(name)?.wrong.length !== 0)
  if (again.length > 0) {
    for (const [name, verdict] of await measure(peer, again, 1)) verdicts.set(name, verdict)
  }
  columns.push({ peer, version, verdicts })
}
console.log(table(cases, columns))
if (only.length === 0) {
  writeFileSync(new URL('../docs/comparison.md', import.meta.url), markdown(cases, columns))
  console.error('written: docs/comparison.md')
}
// A black hole's worker, a connection that some proxy keeps: nothing of it is awaited.
process.exit(0)
