/** How messages name what was got, and guess what was meant. */
import type { SourceNode } from './source.ts'

const LONGEST_SHOWN = 60

/**
 * `"text"`, `5`, `true`, `nothing`, `a mapping`. Of what the environment put in only the reference is shown, and how long
 * it is: a secret may stand in the wrong place.
 */
export function show(node: SourceNode): string {
  if (node.form === 'map') return 'a mapping'
  if (node.form === 'list') return 'a list'
  if (node.template !== null) return `${clip(node.template)}, ${node.text.length} characters once expanded`
  return typeof node.value === 'string' ? quote(node.value) : node.value === null ? node.text || 'nothing' : node.text
}

export function quote(text: string): string {
  return JSON.stringify(clip(text))
}

/** What `quote` shows of a text, between the quotes and without the mark that it was clipped. */
export function unquoted(text: string): string {
  return JSON.stringify(text.slice(0, LONGEST_SHOWN - 1)).slice(1, -1)
}

/** `, did you mean "connect"?` or nothing. */
export function didYouMean(got: string, known: readonly string[]): string {
  const lower = got.toLowerCase().replaceAll('-', '_')
  let best: { readonly word: string; readonly distance: number } | null = null
  for (const word of known) {
    const distance = editDistance(lower, word.toLowerCase())
    if (best === null || distance < best.distance) best = { word, distance }
  }
  if (best === null || best.distance > Math.max(1, Math.floor(best.word.length / 3))) return ''
  return `, did you mean ${quote(best.word)}?`
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > LONGEST_SHOWN) return LONGEST_SHOWN
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (beforeLast[j - 2] ?? cost) + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 0
}

function clip(text: string): string {
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN - 1)}…` : text
}
