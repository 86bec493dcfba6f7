/** `hopgate prove` and the timeouts of WebSocket: proven where they are kept, missed where a gateway forgets them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { startGateway } from '../../src/gateway.ts'
import type { StartGateway } from '../../src/prove/ground.ts'
import { runProve, SMALL } from './small-config.ts'

const websocket = (block: string): string => SMALL.replace('upstream: up }', `upstream: up, websocket: ${block} }`)

/** Not that they are in time to 50 ms, which a busy machine decides: that they fire, and what they are called. */
const missesOf = ({ cases }: Awaited<ReturnType<typeof runProve>>): string[] =>
  cases.flatMap(({ name, wrong }) => wrong.filter(each => !/ms|busy|second/.test(each)).map(each => `${name}: ${each}`))

const MODES = [
  ['tunnel', '{ idle_timeout: 600ms, max_lifetime: 900ms }', ['idle_timeout', 'max_lifetime']],
  ['relay', '{ mode: relay, idle_timeout: 2s, ping_interval: 800ms }', ['idle_timeout', 'ping_interval']],
] as const

// Each waits for most of its time.
describe('the timeouts of WebSocket', { concurrency: 4 }, () => {
  for (const [mode, block, names] of MODES) {
    test(`${mode}: every timeout is proven`, async () => {
      for (const name of names) {
        const run = await runProve(websocket(block), { only: `websocket.${name}` })
        assert.deepEqual(
          run.cases.map(({ word }) => word),
          [`websocket.${name}`],
          run.stdout,
        )
        assert.deepEqual(missesOf(run), [], run.stdout)
      }
    })
  }

  test('what is off, what another covers, and what is too long to wait for is said', async () => {
    const unproven = await runProve(websocket('{ idle_timeout: off }'), { only: 'timeout', scale: '0.1' })
    assert.match(unproven.stdout, /r +websocket\.idle_timeout +off/)
    assert.match(unproven.stdout, /longer than 15m: --scale proves it/)
    const covered = await runProve(websocket('{ max_lifetime: 500ms }'), { only: 'websocket.idle_timeout' })
    assert.equal(covered.cases[0]?.covered, 'covered by max_lifetime')
  })

  test('a gateway that forgets idle_timeout is a miss', async () => {
    const forgetful: StartGateway = parts =>
      startGateway({
        ...parts,
        config: {
          ...parts.config,
          routes: parts.config.routes.map(route => ({
            ...route,
            websocket:
              route.websocket === null
                ? null
                : { ...route.websocket, idleTimeout: { value: Number.POSITIVE_INFINITY, origin: 'test' } },
          })),
        },
      })
    const run = await runProve(websocket('{ idle_timeout: 300ms }'), {
      only: 'websocket.idle_timeout',
      start: forgetful,
    })
    assert.equal(run.code, 1)
    assert.match(run.cases[0]?.wrong.join() ?? '', /websocket\.idle_timeout did not fire/)
  })
})
