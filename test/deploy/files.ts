/** The files of deploy/, as data. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const text = (file: string): string => readFileSync(join(root, file), 'utf8')

export const filesBelow = (folder: string): readonly string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(file => join(folder, file))

/** Every document of a YAML file, which must have neither errors nor warnings. */
export function documents<T>(source: string, name: string): readonly T[] {
  return parseAllDocuments(source, { merge: true }).map(document => {
    assert.deepEqual([document.errors, document.warnings], [[], []], name)
    return document.toJS({ maxAliasCount: 1000 }) as T
  })
}

export function onlyDocument<T>(file: string): T {
  const [document, ...more] = documents<T>(text(file), file)
  assert.ok(document !== undefined && more.length === 0, `${file}: one document`)
  return document
}

/** A configuration of deploy/, which must be right. */
export function configOf(file: string, env: Readonly<Record<string, string>> = {}): Config {
  const result = loadConfig(join(root, file), env)
  assert.ok(result.ok, `${file}: ${result.ok ? '' : JSON.stringify(result.errors)}`)
  return result.config
}

/** Where a program is, or undefined: Debian keeps some in places that are not in everybody's PATH. */
export function program(name: string): string | undefined {
  const places = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin']
  return places.map(place => join(place, name)).find(path => existsSync(path))
}

/** For `{ skip }` of a test: loud, because less is proven without it. */
export function without(name: string, from: string): string | false {
  return program(name) === undefined ? `SKIPPED: no ${name} here (${from})` : false
}

/** `1m30s`, `30s`, `500ms`, as compose, nginx and Prometheus write it. */
export function seconds(duration: string | number): number {
  if (typeof duration === 'number') return duration
  const units: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 }
  const parts = [...duration.matchAll(/(\d+)(ms|s|m|h)/g)]
  assert.ok(parts.length > 0 && parts.map(([part]) => part).join('') === duration, `no duration: ${duration}`)
  return parts.reduce((sum, [, n, unit = '']) => sum + Number(n) * (units[unit] ?? Number.NaN), 0)
}
