import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { LogSink } from '../../src/observe/log-sink.ts'
import { createLogger } from '../../src/observe/logger.ts'
import { record } from './fixtures.ts'
import { temporaryFolder } from './sink-process.ts'

test('events and access lines share a sink, in order, each counted in its class; the level filters events only', async t => {
  const path = join(temporaryFolder(t), 'log')
  const sink = new LogSink({ destination: path, bufferBytes: 1 << 20 })
  const log = createLogger(sink, 'warn')
  log.events.info('not wanted')
  log.events.warn({ limit: 128, err: new Error('no\nroom') }, 'backlog lowered')
  log.access(record())
  assert.equal(await sink.close(), 0)
  const [event, access, ...more] = readFileSync(path, 'utf8').split('\n')
  assert.deepEqual(more, [''])
  const { level, time, msg, limit, err, ...rest } = JSON.parse(event ?? '')
  assert.deepEqual([level, msg, limit, err.message], ['warn', 'backlog lowered', 128, 'no\nroom'])
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000)
  assert.deepEqual(rest, {}, 'neither pid nor host name')
  assert.equal(JSON.parse(access ?? '').msg, 'request')
  assert.deepEqual(sink.written, { access: 1, event: 1 })
})

test('a closed sink drops and counts, and closing twice is closing once', async t => {
  const sink = new LogSink({ destination: join(temporaryFolder(t), 'log'), bufferBytes: 1 << 16 })
  const log = createLogger(sink, 'info')
  assert.equal(await sink.close(), 0)
  log.events.info('late')
  log.access(record())
  assert.equal(await sink.close(), 0)
  sink.reopen()
  assert.deepEqual(sink.dropped, { access: 1, event: 1 })
  assert.equal(sink.up, false)
})
