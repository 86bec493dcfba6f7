// Numbers and names as people read them. Nothing here knows the page.

export const BAND_WORDS = {
  ok: 'answered',
  upstream_5xx: '5xx of the upstream itself',
  client_left: 'client left (499)',
  client_fault: "client's fault (4xx)",
  timeout: 'timeout (504)',
  upstream_failed: 'upstream failed (502)',
  refused: 'refused (503)',
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

export const count = number => whole.format(number)

export function rate(perSecond) {
  if (!Number.isFinite(perSecond)) return '–'
  if (perSecond === 0) return '0'
  return perSecond < 10 ? perSecond.toFixed(1) : whole.format(perSecond)
}

export function seconds(value) {
  if (value === null || value === undefined) return '–'
  return milliseconds(value * 1000)
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return '–'
  if (ms < 1) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${trim((ms / 1000).toFixed(ms < 10_000 ? 2 : 1))} s`
  if (ms < 3_600_000) return `${trim((ms / 60_000).toFixed(1))} min`
  return `${trim((ms / 3_600_000).toFixed(1))} h`
}

const trim = text => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)

export const limit = value => (value === 'off' ? 'off' : milliseconds(value))

export const percent = share => (Number.isFinite(share) ? `${trim((share * 100).toFixed(share < 0.1 ? 1 : 0))} %` : '–')

export function bytes(number) {
  if (number < 1024) return `${number} B`
  return number < 1024 * 1024 ? `${trim((number / 1024).toFixed(1))} KiB` : `${trim((number / 1048576).toFixed(1))} MiB`
}

export const clock = ms => new Date(ms).toLocaleTimeString('en-GB')
