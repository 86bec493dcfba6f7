/** Holds the house: who may import whom, who may touch what, and what is not left behind. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Imports point down this list, never up, and not between rooms of one line. */
const FLOORS: readonly (readonly string[])[] = [
  ['cli.ts'],
  ['commands'],
  ['gateway.ts'],
  ['server', 'admin.ts'],
  ['live'],
  ['prove', 'demo', 'lint', 'explain', 'doctor', 'rules', 'watch'],
  // Above exchange: a handshake is made of the parts that an exchange is made of.
  ['websocket'],
  ['exchange'],
  ['upstream'],
  ['observe'],
  ['config'],
  ['http1'],
  ['engine.ts', 'never.ts', 'outlet.ts', 'read-buffer.ts', 'roster.ts', 'sever.ts', 'write-batch.ts'],
  ['outcome.ts'],
]

/** On one floor, all the same: the demo's backends are made of the faults that `prove` injects. */
const NEIGHBOURS = ['demo -> prove']

/** Who may import a package; a folder ends with a slash. */
const SINGLE_IMPORTERS: Readonly<Record<string, readonly string[]>> = {
  fastify: ['src/admin.ts'],
  pino: ['src/observe/'],
  'prom-client': ['src/observe/'],
  yaml: ['src/config/'],
  // For the browser: its files are served as they are, and nothing of it runs here.
  uplot: ['src/live/assets.ts'],
  ws: ['src/websocket/'],
}

/** `process.` belongs to cli.ts; these are no readings of argv, env or signals, and stand where they are needed. */
const PROCESS_ELSEWHERE: readonly string[] = [
  // The one clock that two threads read alike.
  'src/watch/watchdog-memory.ts: process.hrtime',
  // Where no exit code can be had: the last resort of a thread whose process hangs in native code.
  'src/watch/watchdog-thread.ts: process.kill',
  'src/watch/watchdog-thread.ts: process.pid',
  // Text for the main thread, which runs it for the watchdog: it ends with an exit code.
  'src/watch/main-thread.ts: process.reallyExit',
  // The socket table is Linux's.
  'src/exchange/socket-table.ts: process.platform',
  // A later tick is what is wanted.
  'src/exchange/client-connection.ts: process.nextTick',
  'src/outlet.ts: process.nextTick',
  // Its object is what is wanted.
  'src/engine.ts: process.nextTick',
]

/** The fault kit's doors. Whatever they reach knows nothing of the gateway: it is what the gateway is judged by. */
const KIT = ['faults', 'faulty-upstream', 'client-faults', 'log-faults', 'raw-client', 'black-hole', 'tls-fixtures']

const MAX_LINES = 400

interface Import {
  readonly from: string
  /** A file of ours, or a package. */
  readonly of: string
  readonly typeOnly: boolean
}

function filesBelow(folder: string, ending: RegExp): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => ending.test(file) && !file.includes('node_modules'))
    .map(file => join(folder, file))
    .sort()
}

const text = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Comments are free to mention what code must not do. */
function code(file: string): string {
  return text(file)
    .replaceAll(/\/\*.*?\*\//gs, '')
    .replaceAll(/(^|\s)\/\/.*$/gm, '')
}

function importsOf(file: string): readonly Import[] {
  const found: Import[] = []
  const add = (specifier: string, typeOnly: boolean): void => {
    const of = specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier
    found.push({ from: file, of, typeOnly })
  }
  for (const [, type, names = '', specifier = ''] of code(file).matchAll(
    /^(?:import|export)\s+(type\s+)?([^'"`;]*?)\s*from\s+'([^']+)'/gm,
  )) {
    const named = /^\{(.*)\}$/s
      .exec(names.trim())?.[1]
      ?.split(',')
      .map(name => name.trim()) ?? ['value']
    add(specifier, type !== undefined || named.every(name => name === '' || name.startsWith('type ')))
  }
  for (const [, specifier = ''] of code(file).matchAll(/^import\s+'([^']+)'/gm)) add(specifier, false)
  for (const [, specifier = ''] of code(file).matchAll(/\bimport\(\s*'([^']+)'/g)) add(specifier, false)
  // A package whose files are read, not run: `resolve('uplot/dist/...')`.
  for (const [, name = ''] of code(file).matchAll(/(?<!\.)\bresolve\(\s*'((?:@[\w-]+\/)?[\w-]+)\/[^']+'/g))
    add(name, false)
  return found
}

const sources = filesBelow('src', /\.ts$/)
const tests = filesBelow('test', /\.ts$/)
const imports = sources.flatMap(importsOf)
const ours = imports.filter(({ of }) => of.startsWith('src/'))
const packages = imports.filter(({ of }) => !of.startsWith('src/') && !of.startsWith('node:'))

function room(file: string): string {
  return file.split('/')[1] ?? ''
}

function none(found: readonly string[], what: string): void {
  assert.deepEqual(found, [], what)
}

test('every room of src has its floor', () => {
  none(
    [...new Set(sources.map(room))].filter(name => !FLOORS.flat().includes(name)),
    'rooms that FLOORS does not know',
  )
})

test('imports point down', () => {
  const floor = (file: string): number => FLOORS.findIndex(rooms => rooms.includes(room(file)))
  const up = ours.filter(({ from, of }) => {
    if (room(from) === room(of) || NEIGHBOURS.includes(`${room(from)} -> ${room(of)}`)) return false
    return floor(from) >= floor(of)
  })
  none(
    up.map(({ from, of }) => `${from} -> ${of}`),
    'imports that do not point down',
  )
})

test('no file imports itself by way of others', () => {
  const next = new Map<string, string[]>()
  for (const { from, of, typeOnly } of ours) {
    if (!typeOnly) next.set(from, [...(next.get(from) ?? []), of])
  }
  const done = new Set<string>()
  const walk = (file: string, path: readonly string[]): void => {
    assert.ok(!path.includes(file), `a cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`)
    if (done.has(file)) return
    for (const other of next.get(file) ?? []) walk(other, [...path, file])
    done.add(file)
  }
  for (const file of sources) walk(file, [])
})

test('the two sides of an exchange do not know each other', () => {
  const sides = ['src/exchange/client-side.ts', 'src/exchange/upstream-side.ts']
  none(
    ours.filter(({ from, of }) => sides.includes(from) && sides.includes(of)).map(({ from, of }) => `${from} -> ${of}`),
    'sides that import each other',
  )
})

test('the fault kit knows nothing of the gateway', () => {
  const seen = new Set<string>()
  const reach = (file: string): void => {
    if (seen.has(file)) return
    seen.add(file)
    for (const { of } of importsOf(file)) {
      if (of.startsWith('node:')) continue
      assert.ok(of.startsWith('src/prove/'), `${file} -> ${of}`)
      reach(of)
    }
  }
  for (const door of KIT) reach(`src/prove/${door}.ts`)
})

test('each package has the importers it was given, and is a dependency', () => {
  const { dependencies } = JSON.parse(text('package.json')) as { dependencies: Record<string, string> }
  for (const { from, of } of packages) {
    assert.ok(of in dependencies, `${from} imports ${of}, which is no dependency`)
    const allowed = SINGLE_IMPORTERS[of] ?? []
    assert.ok(
      allowed.some(place => (place.endsWith('/') ? from.startsWith(place) : from === place)),
      `${from} imports ${of}, which only ${allowed.join(' and ')} may`,
    )
  }
  none(
    Object.keys(dependencies).filter(name => !packages.some(({ of }) => of === name)),
    'unused dependencies',
  )
})

test('only cli.ts reads the process', () => {
  const found = sources
    .filter(file => file !== 'src/cli.ts')
    .flatMap(file => [...code(file).matchAll(/\bprocess\.\w+/g)].map(([use]) => `${file}: ${use}`))
  none(
    [...new Set(found)].filter(use => !PROCESS_ELSEWHERE.includes(use)),
    'process. outside cli.ts',
  )
  none(
    PROCESS_ELSEWHERE.filter(use => !found.includes(use)),
    'exceptions that are no longer needed',
  )
  none(
    imports.filter(({ of }) => of === 'node:process').map(({ from }) => from),
    'importers of node:process',
  )
})

const LEFTOVERS: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['console', /\bconsole\s*\./],
  ['default export', /^export default /m],
  ['only', /\.only\(/],
  ['debugger', /^\s*debugger\b/m],
]

for (const [what, pattern] of LEFTOVERS) {
  test(`no ${what} in src and test`, () => {
    none(
      [...sources, ...tests].filter(file => pattern.test(code(file))),
      `files with ${what}`,
    )
  })
}

test('nothing is put off in a comment', () => {
  const marks = new RegExp(['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].map(word => `\\b${word}\\b`).join('|'))
  none(
    [...sources, ...tests].filter(file => marks.test(text(file))),
    'files with such a mark',
  )
})

test(`no file is longer than ${MAX_LINES} lines`, () => {
  none(
    [...sources, ...tests].filter(file => text(file).split('\n').length - 1 > MAX_LINES),
    'files that are too long',
  )
})

test('a thing lives with its owner: no file is named for being a heap', () => {
  const heap = /^(utils?|helpers?|types?|index|common|misc|shared|constants)\.ts$/
  none(
    [...sources, ...tests].filter(file => heap.test(basename(file))),
    'heaps',
  )
})
