/** A dial that meets itself: nobody listens, and yet there is a connection. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const DIALS = fileURLToPath(new URL('self-connect-dials.ts', import.meta.url))
/** A network of its own in which the kernel has two ports to give out, and one of them is dialled. */
const FEW_PORTS = 'ip link set lo up && echo "40000 40001" > /proc/sys/net/ipv4/ip_local_port_range'

function inOwnNetwork(command: string) {
  return spawnSync('unshare', ['--net', 'sh', '-c', `${FEW_PORTS} && ${command}`], {
    encoding: 'utf8',
    timeout: 20_000,
  })
}

const trial = inOwnNetwork('true')
const skip = trial.status === 0 ? false : 'a network namespace of its own is not to be had here (unshare, ip, root)'

test('a port that nobody listens on refuses the dial for which the kernel chooses that very port', { skip }, () => {
  const run = inOwnNetwork(`"${process.execPath}" --import tsx "${DIALS}" 40000`)
  assert.equal(run.status, 0, run.stderr)
  const { bare, ours } = JSON.parse(run.stdout) as { bare: string[]; ours: string[] }
  assert.ok(bare.includes('connected with itself'), `Node takes it for a connection: ${run.stdout}`)
  assert.deepEqual([...new Set(ours)], ['ECONNREFUSED'])
})
