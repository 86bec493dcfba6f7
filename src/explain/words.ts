/** How sentences spell durations, sizes and who was meant. */
import type { Facts } from './facts.ts'

/** `0.4 ms`, `502 ms`, `1003 ms`, `2 s`, `15.3 s`, `5 min`. */
export function spell(ms: number): string {
  if (ms < 1) return `${Math.max(ms, 0.1).toFixed(1)} ms`
  const whole = Math.round(ms)
  if (whole >= 60_000 && whole % 60_000 === 0) return `${whole / 60_000} min`
  if (whole % 1000 === 0) return `${whole / 1000} s`
  if (whole < 10_000) return `${whole} ms`
  return `${trim((ms / 1000).toFixed(1))} s`
}

/** `no byte`, `1 byte`, `812 bytes`, `1.5 KiB`, `10 MiB`. */
export function spellBytes(bytes: number): string {
  if (bytes === 0) return 'no byte'
  if (bytes < 1024) return `${bytes} byte${bytes === 1 ? '' : 's'}`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = ''
  for (const next of units) {
    if (value < 1024) break
    value /= 1024
    unit = next
  }
  return `${trim(value.toFixed(1))} ${unit}`
}

function trim(decimals: string): string {
  return decimals.replace(/\.0$/, '')
}

/** `orders (10.0.0.7:3001)`, `orders`, `the upstream`. */
export function whom({ upstream, endpoint }: Facts): string {
  const name = upstream === '' ? 'the upstream' : upstream
  return endpoint === '' ? name : `${name} (${endpoint})`
}

/** `: ECONNREFUSED (connect ECONNREFUSED 127.0.0.1:1)`, or nothing. */
export function because({ error }: Facts): string {
  if (error === undefined) return ''
  const { code, message } = error
  if (code === '' || message === '' || message === code) return code + message === '' ? '' : `: ${code || message}`
  return code === 'Error' ? `: ${message}` : `: ${code} (${message})`
}
