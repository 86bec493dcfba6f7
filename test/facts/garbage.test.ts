/**
 * What makes garbage old: a `Set` whose members come and go, which is why `roster.ts` exists, and one accident in V8's
 * count of survivors, which is why `engine.ts` has it count none. What V8 does after a pause, in which `engine.ts` allocates,
 * and what a tick is made of, of which it keeps one.
 */
import assert from 'node:assert/strict'
import { executionAsyncResource } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Roster } from '../../src/roster.ts'

const IN_FLIGHT = 8
const REQUESTS = 2000
const MEMBER_BYTES = 8000
const ALL_MB = (REQUESTS * MEMBER_BYTES) / 1e6

interface Register {
  /** @returns what removes it */
  enter(member: object): () => void
}

/** MB that are in use after `REQUESTS` members came, went, and only young garbage was collected. */
function garbage(register: Register): number {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void
  const minor = (): void => {
    for (let i = 0; i < 3; i++) gc({ type: 'minor' })
  }
  const leaving: (() => void)[] = []
  const enter = (): void => {
    leaving.push(register.enter({ work: new Array(MEMBER_BYTES / 8).fill(0.5) }))
  }
  gc()
  const before = getHeapStatistics().used_heap_size
  for (let i = 0; i < IN_FLIGHT; i++) enter()
  // The accident: what is in flight now is promoted, as by two scavenges during one slow answer.
  minor()
  for (let i = 0; i < REQUESTS; i++) {
    enter()
    leaving.shift()?.()
    if (i % 500 === 499) minor()
  }
  for (const leave of leaving) leave()
  return (getHeapStatistics().used_heap_size - before) / 1e6
}

test('a roster keeps those alone that were in flight while others were collected', () => {
  const roster = new Roster<object>()
  const kept = garbage({
    enter(member) {
      const place = roster.add(member)
      return () => roster.remove(place)
    },
  })
  assert.equal(roster.size, 0)
  // Whoever is in flight during a collection is promoted with good reason. (First of the two: where V8 has seen members
  // live long it makes the next ones old at once.)
  assert.ok(kept < ALL_MB / 4, `${kept} of ${ALL_MB} MB alive`)
})

test('a Set keeps nearly all of its former members alive, once it was promoted', () => {
  const set = new Set<object>()
  const kept = garbage({
    enter(member) {
      set.add(member)
      return () => set.delete(member)
    },
  })
  assert.equal(set.size, 0)
  assert.ok(
    kept > ALL_MB / 2,
    `${kept} of ${ALL_MB} MB alive: has V8 learned to let them go? Then roster.ts can go too`,
  )
})

/** Says how many MB are in use, when only young garbage was collected, after one burst outlived a collection and 5000 more, of 4.5 MB, came and went. */
const BURST = `
  const begin = work => ({ work, done: false })
  const exchange = () => begin(new Array(100).fill(0.5))
  let burst = []
  for (let i = 0; i < 200; i++) burst.push(exchange())
  gc({ type: 'minor' })
  burst = undefined
  for (let i = 0; i < 30_000; i++) exchange()
  gc({ type: 'minor' })
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 5000; i++) exchange()
  gc({ type: 'minor' })
  const grownMb = (process.memoryUsage().heapUsed - before) / 1e6
  process.stdout.write(String(grownMb))
`

test('where V8 saw one burst survive, it makes all that follow old from the start, unless it is told not to', async () => {
  // It decides when the young generation is as large as it may get, which in a gateway under load it is.
  const flags = ['--expose-gc', '--min-semi-space-size=16', '--single-threaded']
  const grown = async (...more: string[]): Promise<number> => {
    return Number((await promisify(execFile)(process.execPath, [...flags, ...more, '-e', BURST])).stdout)
  }
  const young = await grown('--no-allocation-site-pretenuring')
  assert.ok(young < 0.5, `${young} MB alive where V8 does not count survivors`)
  const old = await grown()
  assert.ok(old > 2, `${old} MB alive where it does: has V8 changed? Then engine.ts need not tell it`)
})

/** Fills the young generation as far as it goes, idles for longer than V8 looks back, and collects: how large it was, and is. */
const PAUSE = `
  const sizeMb = () => v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size / 1e6
  const kept = []
  for (let i = 0; i < 400_000; i++) kept.push({ i, text: 'x' + i, inner: { i } })
  for (let i = 0; i < 200; i++) new Array(8000).fill(i)
  gc({ type: 'minor' })
  const before = sizeMb()
  setTimeout(() => {
    gc({ type: 'minor' })
    process.stdout.write(before + ' ' + sizeMb())
  }, 7000)
`

test('V8 shrinks the young generation after a pause, unless something is allocated in it', async () => {
  const engine = fileURLToPath(new URL('../../src/engine.ts', import.meta.url))
  const sizes = async (prepare: string): Promise<number[]> => {
    const program = `import v8 from 'node:v8'; ${prepare}; ${PAUSE}`
    const args = ['--expose-gc', '--import', 'tsx', '--input-type=module', '-e', program]
    return (await promisify(execFile)(process.execPath, args)).stdout.split(' ').map(Number)
  }
  const [left, prepared] = await Promise.all([
    sizes("v8.setFlagsFromString('--no-memory-reducer')"),
    sizes(`import { prepareEngine } from '${engine}'; prepareEngine()`),
  ])
  const [before = 0, after = 0] = prepared
  assert.ok(before > 4 && after >= before, `${before} MB before a pause and ${after} after it`)
  const [grown = 0, shrunk = 0] = left
  assert.ok(shrunk < grown / 2, `${grown} MB and ${shrunk}: has V8 changed? Then engine.ts need not allocate`)
})

test('the resource of a tick is the object that nextTick has made for it, with its computed keys', async () => {
  const ticks = await Promise.all(
    [1, 2].map(() => new Promise<object>(resolve => process.nextTick(() => resolve(executionAsyncResource())))),
  )
  for (const tick of ticks) {
    assert.equal(
      typeof (tick as { callback?: unknown }).callback,
      'function',
      'see engine.ts: nothing else keeps its shape',
    )
    assert.ok(Object.getOwnPropertySymbols(tick).length >= 2)
  }
  assert.notEqual(ticks[0], ticks[1])
})
