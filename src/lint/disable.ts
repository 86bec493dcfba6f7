/**
 * `# hopgate-lint-disable RULE, RULE`: on a line with a value, for that line; on a line of its own, for the next line
 * that has a value; in both cases for all that is nested below that line too. `# hopgate-lint-disable-file RULE`:
 * anywhere, for the whole file.
 */
import { commentsOf } from '../config/comments.ts'

export interface Disabled {
  /** A finding of this rule at this line (1-based) is not wanted. */
  readonly at: (rule: string, line: number) => boolean
  /** Every rule named, with the line of the comment. */
  readonly named: readonly { readonly rule: string; readonly line: number }[]
}

interface Span {
  readonly rule: string
  readonly from: number
  readonly to: number
}

const DIRECTIVE = /^hopgate-lint-disable(-file)?\b(.*)$/

export function readDisabled(text: string): Disabled {
  const lines = text.split('\n')
  const spans: Span[] = []
  const named: { rule: string; line: number }[] = []
  for (const comment of commentsOf(text)) {
    const [whole, file, rest = ''] = DIRECTIVE.exec(comment.text) ?? []
    if (whole === undefined) continue
    // What follows the names is for the reader: `RULE, RULE -- the backend sends a comment every 15 s`.
    const rules = (rest.split(/--|:/)[0] ?? '').split(/[\s,]+/).filter(word => word !== '')
    const [from, to] =
      file === undefined ? spanOf(lines, comment.alone ? comment.line + 1 : comment.line) : [1, lines.length]
    for (const rule of rules) {
      spans.push({ rule, from, to })
      named.push({ rule, line: comment.line })
    }
    if (rules.length === 0) named.push({ rule: '', line: comment.line })
  }
  return {
    at: (rule, line) => spans.some(span => span.rule === rule && line >= span.from && line <= span.to),
    named,
  }
}

/** The first line from `start` on that has a value, and the last one nested below it. */
function spanOf(lines: readonly string[], start: number): readonly [number, number] {
  let from = start
  while (from <= lines.length && isBlank(lines[from - 1])) from++
  const first = lines[from - 1] ?? ''
  const indent = indentOf(first)
  let to = from
  for (let line = from + 1; line <= lines.length; line++) {
    const text = lines[line - 1] ?? ''
    if (isBlank(text)) continue
    // A list may stand at the indent of its key: `routes:` and, below it, `- name: orders`.
    const nested = indentOf(text) > indent || (indentOf(text) === indent && isItem(text) && !isItem(first))
    if (!nested) break
    to = line
  }
  return [from, to]
}

function isBlank(line: string | undefined): boolean {
  return line !== undefined && /^\s*(#.*)?$/.test(line)
}

function isItem(line: string): boolean {
  return /^\s*-(\s|$)/.test(line)
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length
}
