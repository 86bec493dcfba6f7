/** The files of the live page: read once, at the start, from beside this file and from the chart library's package. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

export interface Asset {
  /** Of the admin listener. */
  readonly path: string
  readonly type: string
  readonly body: Buffer
}

const HTML = 'text/html; charset=utf-8'
const CSS = 'text/css; charset=utf-8'
const SCRIPT = 'text/javascript; charset=utf-8'

/** Nothing from elsewhere, nothing inline, in nobody's frame: what a path or an error text brings with it cannot run. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-cache',
}

let kept: readonly Asset[] | undefined

/** Read once in a process, which may have many gateways. Throws where the package is not whole: better now than at 3 a.m. */
export function pageAssets(): readonly Asset[] {
  kept ??= readAssets()
  return kept
}

function readAssets(): readonly Asset[] {
  const own = (name: string, type: string, path = `/-/live/${name}`): Asset => ({
    path,
    type,
    body: readFileSync(new URL(`./page/${name}`, import.meta.url)),
  })
  const { resolve } = createRequire(import.meta.url)
  const foreign = (file: string, name: string, type: string): Asset => ({
    path: `/-/live/${name}`,
    type,
    body: readFileSync(file),
  })
  return [
    own('page.html', HTML, '/'),
    own('page.css', CSS),
    own('page.js', SCRIPT),
    own('dom.js', SCRIPT),
    own('words.js', SCRIPT),
    own('charts.js', SCRIPT),
    own('tables.js', SCRIPT),
    own('icon.svg', 'image/svg+xml'),
    foreign(resolve('uplot/dist/uPlot.iife.min.js'), 'uplot.js', SCRIPT),
    foreign(resolve('uplot/dist/uPlot.min.css'), 'uplot.css', CSS),
  ]
}
