/** What an nginx configuration says. */
import assert from 'node:assert/strict'
import { seconds, text } from './files.ts'

/** A duration in seconds, of the first place where the directive stands. */
export function nginxValue(file: string, directive: string): number {
  const [, value] = new RegExp(`^\\s*${directive} (\\S+);`, 'm').exec(text(file)) ?? []
  assert.ok(value !== undefined, `${file}: no ${directive}`)
  return seconds(value)
}
