/** What a run has shown, for machines: JSON, and JUnit's XML for CI systems. */
import type { Result } from './prove-one.ts'
import { injected } from './report.ts'
import type { Proof } from './run.ts'

/** Milliseconds everywhere; null where there is none. */
export function proofJson(proof: Proof): string {
  const { results, unproven, wrong, descriptors, tookMs, ok, hash, version, scale } = proof
  const json = {
    ok,
    version,
    config_hash: hash,
    scale,
    took_ms: Math.round(tookMs),
    wrong,
    descriptors,
    cases: results.map(({ one, name, verdict, configuredMs, firedMs, overrunMs, expected, called, wrong }) => ({
      name,
      kind: one.kind,
      route: one.route,
      word: one.word,
      variant: one.variant ?? null,
      key: one.key,
      origin: one.origin,
      configured_ms: configuredMs ?? null,
      fired_ms: rounded(firedMs),
      overrun_ms: rounded(overrunMs),
      covered: one.covered ?? null,
      injected: { upstream: one.upstream, client: one.plan, crowd: one.crowd ?? null, adjusted: one.adjust ?? null },
      expected,
      called,
      verdict,
      wrong,
      notes: one.notes,
    })),
    unproven,
  }
  return `${JSON.stringify(json, null, 2)}\n`
}

function rounded(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 10) / 10
}

/** A test suite for each route. */
export function proofJunit(proof: Proof): string {
  const { results, unproven, wrong, tookMs } = proof
  const routes = [...new Set([...results.map(({ one }) => one.route), ...unproven.map(({ route }) => route)])]
  const suites = routes.map(route => {
    const own = results.filter(({ one }) => one.route === route)
    const skipped = unproven.filter(each => each.route === route)
    const failures = own.filter(({ verdict }) => verdict === 'miss').length
    const cases = [
      ...own.map(testCase),
      ...skipped.map(({ word, why }) => {
        return `    <testcase classname="${xml(route)}" name="${xml(word)}" time="0"><skipped message="${xml(why)}"/></testcase>`
      }),
    ]
    const count = `tests="${cases.length}" failures="${failures}" errors="0" skipped="${skipped.length}"`
    return `  <testsuite name="${xml(route)}" ${count}>\n${cases.join('\n')}\n  </testsuite>`
  })
  if (wrong.length > 0) {
    const cases = wrong.map(text => failure('hopgate', 'the process as a whole', '', text))
    const count = `tests="${wrong.length}" failures="${wrong.length}" errors="0" skipped="0"`
    suites.push(`  <testsuite name="hopgate" ${count}>\n${cases.join('\n')}\n  </testsuite>`)
  }
  const time = (tookMs / 1000).toFixed(3)
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="hopgate prove" time="${time}">\n${suites.join('\n')}\n</testsuites>\n`
}

function testCase({ one, name, verdict, firedMs, expected, called, wrong }: Result): string {
  const { route } = one
  if (verdict === 'miss') {
    const text = [
      `injected: ${injected(one)}`,
      `expected: ${expected}`,
      `seen: ${called}`,
      ...wrong,
      `look at: ${one.key} (from ${one.origin})`,
    ].join('\n')
    return failure(route, name, wrong[0] ?? '', text)
  }
  const time = ((firedMs ?? 0) / 1000).toFixed(3)
  return `    <testcase classname="${xml(route)}" name="${xml(name)}" time="${time}"/>`
}

function failure(route: string, name: string, message: string, text: string): string {
  return `    <testcase classname="${xml(route)}" name="${xml(name)}" time="0"><failure message="${xml(message)}">${xml(text)}</failure></testcase>`
}

/** Control characters other than tab and line ends have no place in XML 1.0, escaped or not. */
function xml(text: string): string {
  return text
    .replaceAll(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
