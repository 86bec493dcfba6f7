/** `hopgate explain`: what is printed for a log, from a file, from a pipe, for one request, as a summary. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { explain } from '../../src/commands/explain.ts'
import { accessLine } from '../../src/observe/access-line.ts'
import type { ExchangeRecord } from '../../src/observe/record.ts'
import { folderOf, runCli } from '../gateway/process.ts'
import { record } from '../observe/fixtures.ts'

const START = Date.UTC(2026, 10, 20, 14, 0, 0)
const CONFIG = `
upstreams: { orders: { endpoints: ["http://10.0.0.7:3001"] } }
routes: [{ name: orders, match: { path_prefix: / }, upstream: orders, timeouts: { request: 8s, response_headers: 2s } }]
`

function left(ageMs: number, changes: Partial<ExchangeRecord> = {}): ExchangeRecord {
  return record({
    requestId: `left-${ageMs}`,
    endpointUrl: 'http://10.0.0.7:3001',
    outcome: 'client_abort',
    stage: 'response_headers',
    party: 'client',
    status: 499,
    times: { ...record().times, responseHeaders: ageMs - 2, responseBody: -1, total: ageMs },
    clientAbortAge: ageMs,
    ...changes,
  })
}

const refused = record({
  requestId: 'refused-1',
  outcome: 'connect_refused',
  stage: 'connect',
  party: 'upstream',
  status: 502,
  error: Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:3001'), { code: 'ECONNREFUSED' }),
})

/** 30 who left at 1 s, 4 at other ages, one refusal, 65 completed; and lines of other kinds. */
function logText(): string {
  const records = [
    ...Array.from({ length: 65 }, () => record()),
    ...Array.from({ length: 30 }, (_, n) => left(1001 + (n % 7) * 1.3)),
    ...[40, 310, 2100, 5200].map(ms => left(ms)),
    refused,
  ]
  const lines = records.map((each, n) => String(accessLine(each, START + n * 100)))
  const others = [
    '{"time":"2026-11-20T14:00:00.000Z","level":"info","msg":"listening"}\n',
    'npm warn something else\n',
    '\n',
  ]
  return [...others, ...lines].join('')
}

interface Spec {
  readonly files?: readonly string[]
  readonly config?: string
  readonly requestId?: string
  readonly summary?: boolean
  readonly stdin?: string | readonly Buffer[]
}

async function run({ files = [], stdin = '', ...rest }: Spec) {
  let [out, err] = ['', '']
  const stdout = { write: (text: string) => (out += text) }
  const stderr = { write: (text: string) => (err += text) }
  const pieces = typeof stdin === 'string' ? [Buffer.from(stdin)] : stdin
  const code = await explain({ files, ...rest }, { stdin: Readable.from(pieces), stdout, stderr, env: {} })
  return { code, out, err }
}

function fileOf(t: TestContext, content: string | Buffer, name = 'hopgate.log'): string {
  const file = join(folderOf(t), name)
  writeFileSync(file, content)
  return file
}

test('a file: each failed exchange, and how many shared its fate', async t => {
  const [file, config] = [fileOf(t, logText()), fileOf(t, CONFIG, 'hopgate.yaml')]
  const { code, out, err } = await run({ files: [file], config })
  assert.deepEqual([code, err], [0, ''])
  const blocks = out.split(/\n(?=\S)/)
  assert.equal(blocks.filter(block => block.includes('client_abort')).length, 34)
  assert.ok(
    out.includes(
      '2026-11-20T14:00:06.500Z  left-1001  GET example.test/api/orders/7  499 client_abort\n' +
        '    The client left 1001 ms after its request. orders (10.0.0.7:3001) had not sent headers; our limit was 2 s, ' +
        "the deadline 8 s. 30 requests left at 1.0 s in this file: the caller's timeout is probably 1 s.\n",
    ),
    out,
  )
  assert.match(out, /left 310 ms after its request\. orders [^.]*\.0\.0\.7:3001\) had not sent headers; [^.]*\.\n/)
  assert.match(out, /orders \(127\.0\.0\.1:3001\) refused the connection, nobody listens there: ECONNREFUSED/)
  assert.match(out, /\n100 exchanges, 35 failed\. 2 lines were no access line\.\n$/)
  assert.doesNotMatch(out, /\b200 completed/)
})

test('a pipe is read once: what the whole shows is said at its end, and the limits are not known without a configuration', async () => {
  const { code, out } = await run({ stdin: logText() })
  assert.equal(code, 0)
  assert.match(out, /left 1001 ms after its request\. orders \(10\.0\.0\.7:3001\) had not sent headers\.\n/)
  assert.match(out, /\norders: 30 requests left at 1\.0 s in this log: the caller's timeout is probably 1 s\.\n/)
  assert.equal((await run({ stdin: logText(), files: ['-'] })).out, out)
})

test('chunks that end anywhere, a last line without a newline, several files, a packed one: all the same', async t => {
  const text = logText().trimEnd()
  const bytes = Buffer.from(text)
  const whole = await run({ stdin: text })
  const pieces = Array.from({ length: Math.ceil(bytes.length / 37) }, (_, n) => bytes.subarray(n * 37, n * 37 + 37))
  assert.equal((await run({ stdin: pieces })).out, whole.out)
  const packed = fileOf(t, gzipSync(bytes), 'hopgate.log.1.gz')
  const plain = fileOf(t, bytes)
  assert.equal((await run({ files: [packed] })).out, (await run({ files: [plain] })).out)
  const both = await run({ files: [packed, plain] })
  assert.match(both.out, /60 requests left at 1\.0 s in this log/)
  assert.match(both.out, /200 exchanges, 70 failed\. 4 lines/)
})

test('--request-id: that one alone, also if it completed; one that is not there is exit 1', async t => {
  const file = fileOf(t, logText())
  const one = await run({ files: [file], requestId: 'refused-1' })
  assert.equal(one.code, 0)
  assert.equal(one.out.trimEnd().split('\n').length, 2)
  assert.match(one.out, /refused the connection/)
  const done = await run({ files: [file], requestId: record().requestId })
  assert.equal(done.out.match(/completed/g)?.length, 65)
  const none = await run({ files: [file], requestId: 'nobody' })
  assert.deepEqual([none.code, none.out], [1, ''])
  assert.match(none.err, /^--request-id: no such exchange \(got "nobody"; read 100 access lines and 2 others\)\n$/)
})

test('--summary: the causes by route, party and stage, and the patience of the callers', async t => {
  const [file, config] = [fileOf(t, logText()), fileOf(t, CONFIG, 'hopgate.yaml')]
  const { code, out } = await run({ files: [file], config, summary: true })
  assert.equal(code, 0)
  assert.equal(
    out,
    `100 exchanges, 35 failed (35.0 %), the failed ones from 2026-11-20T14:00:06.500Z to 2026-11-20T14:00:09.900Z

      share   route   party     outcome          stage
  34  97.1 %  orders  client    client_abort     response_headers
        The client left 1001 ms after its request. orders (10.0.0.7:3001) had not sent headers; our limit was 2 s, the deadline 8 s.
   1   2.9 %  orders  upstream  connect_refused  connect
        orders (127.0.0.1:3001) refused the connection, nobody listens there: ECONNREFUSED (connect ECONNREFUSED 10.0.0.7:3001).

how long clients waited before they left
  orders: 34 left; our deadline 8 s
    30 requests left at 1.0 s: the caller's timeout is probably 1 s.
      from 30 ms     1  #
      from 50 ms     0
      from 70 ms     0
      from 100 ms    0
      from 150 ms    0
      from 200 ms    0
      from 300 ms    1  #
      from 500 ms    0
      from 700 ms    0
      from 1 s      30  ########################################
      from 1500 ms   0
      from 2 s       1  #
      from 3 s       0
      from 5 s       1  #

2 lines were no access line.
`,
  )
})

test('an empty log, one of other things, one line without an end: said, and nothing breaks', async () => {
  assert.equal((await run({})).out, '0 exchanges, 0 failed.\n')
  assert.equal((await run({ stdin: 'x\ny\n' })).out, '0 exchanges, 0 failed. 2 lines were no access line.\n')
  const endless = Array.from({ length: 40 }, () => Buffer.alloc(256 * 1024, 'a'))
  const text = [...endless, Buffer.from(`\n${accessLine(refused, START)}`)]
  const { out } = await run({ stdin: text })
  assert.match(out, /refused the connection[^\n]*\n\n1 exchange, 1 failed\. 1 line was no access line\.\n$/)
})

test('a file that cannot be read: exit 1, its name and why; a bad configuration: 78', async t => {
  const missing = await run({ files: ['/no/such.log'] })
  assert.deepEqual([missing.code, missing.out], [1, ''])
  assert.match(missing.err, /^\/no\/such\.log: the log cannot be read \(got ENOENT, /)
  const broken = await run({ files: [fileOf(t, 'not gzip', 'x.gz')] })
  assert.deepEqual([broken.code, broken.err.includes('Z_DATA_ERROR')], [1, true])
  const config = fileOf(t, 'routes: []', 'hopgate.yaml')
  const wrong = await run({ files: ['/no/such.log'], config })
  assert.equal(wrong.code, 78)
  assert.match(wrong.err, /^upstreams: required/)
})

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

function start(t: TestContext, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', CLI, 'explain', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  return child
}

test('as a command: reads its standard input, and ends in peace when its reader has seen enough', {
  timeout: 60_000,
}, async t => {
  const file = fileOf(t, logText())
  const { code, stdout } = await runCli(t, ['explain', '--summary', file])
  assert.deepEqual([code, stdout.split('\n')[0]?.slice(0, 24)], [0, '100 exchanges, 35 failed'])

  const child = start(t, [])
  let err = ''
  child.stderr?.on('data', chunk => {
    err += chunk
  })
  child.stdin?.on('error', () => {})
  const many = logText().repeat(200)
  child.stdin?.end(many)
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  child.stdout?.destroy()
  const [status] = await once(child, 'exit')
  assert.deepEqual([status, err], [0, ''])
})

test('a log of 100 MB is never in memory', { timeout: 120_000 }, async t => {
  const file = fileOf(t, '')
  const block = Buffer.from(logText().repeat(20))
  const fd = openSync(file, 'a')
  for (let bytes = 0; bytes < 100e6; bytes += block.length) writeSync(fd, block)
  closeSync(fd)
  const args = ['--max-old-space-size=64', '--import', 'tsx', CLI, 'explain', '--summary', file]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  let out = ''
  child.stdout.on('data', chunk => {
    out += chunk
  })
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  assert.match(out, /^\d+ exchanges, \d+ failed \(35\.0 %\)/)
})
