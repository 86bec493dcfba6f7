/**
 * YAML text -> a small tree in which every value knows its path, line and column, and in which aliases are followed and
 * `${ENV}` is expanded. Whatever a file can contain ends as issues, never as an exception.
 */
import {
  CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  Parser,
  parseDocument,
  type Scalar,
} from 'yaml'
import { type Env, expandEnv, mentionsEnv, resolveCore } from './env.ts'
import { childPath, type MapNode, type Place, type Report, type ScalarNode, type SourceNode } from './source.ts'

export const MAX_TEXT_BYTES = 1024 * 1024
/** The deepest valid configuration has 6 levels. */
const MAX_DEPTH = 24
/** Aliases multiply: nine lines of ten aliases each are a thousand million values. */
const MAX_NODES = 50_000

/** The root value; null where the text is no single, well-formed YAML document (the reasons were reported). */
export function readSource(text: string, env: Env, report: Report): SourceNode | null {
  const start: Place = { path: '(document)', line: 1, column: 1 }
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    report(start, `too large (got ${Buffer.byteLength(text)} bytes, allowed ${MAX_TEXT_BYTES})`)
    return null
  }
  // Before composing: yaml's composer recurses, and a stack that overflows while V8 compiles a regular expression is
  // no RangeError but the end of the process ("RegExpCompiler Allocation failed", Node 20).
  if (deepest(new Parser().parse(text)) > MAX_DEPTH) {
    report(start, `nested too deep (got more than ${MAX_DEPTH} levels, allowed ${MAX_DEPTH})`)
    return null
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false })
  const textLines = text.split('\n')
  const problems = [...document.errors, ...document.warnings]
  for (const [i, problem] of problems.entries()) {
    if (i > 0 && problem.code === 'UNEXPECTED_TOKEN') continue // mostly the consequence of the one before
    const { line, col } = lines.linePos(problem.pos[0])
    const message = yamlMessage(problem.code, problem.message, textLines[line - 1] ?? '')
    report({ path: '(document)', line, column: col }, message)
  }
  if (problems.length > 0) return null
  return new TreeReader(document, lines, env, report).root()
}

class TreeReader {
  readonly #document: Document
  readonly #lines: LineCounter
  readonly #env: Env
  readonly #report: Report
  readonly #anchors = new Map<string, unknown>()
  #nodes = 0

  constructor(document: Document, lines: LineCounter, env: Env, report: Report) {
    this.#document = document
    this.#lines = lines
    this.#env = env
    this.#report = report
  }

  root(): SourceNode | null {
    const root = this.#read(this.#document.contents, { path: '', line: 1, column: 1 }, 0)
    return this.#nodes > MAX_NODES ? null : root
  }

  /** `outer` is the place of the key or of the list item, which is where a value that was left out is looked for. */
  #read(node: unknown, outer: Place, depth: number): SourceNode {
    const nothing: ScalarNode = { form: 'scalar', place: outer, value: null, text: '', template: null }
    this.#nodes += 1
    if (this.#nodes > MAX_NODES + 1) return nothing
    if (this.#nodes > MAX_NODES || depth > MAX_DEPTH) {
      this.#nodes = MAX_NODES + 1
      this.#report(
        outer,
        `aliases unfold to too much (got more than ${MAX_NODES} values or ${MAX_DEPTH} levels, allowed fewer)`,
      )
      return nothing
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source)
      if (target !== undefined) return this.#read(target, outer, depth + 1)
      const place = this.#placeOf(node.range, outer)
      this.#report(
        place,
        `no such anchor before this alias (got *${node.source}, allowed an anchor &${node.source} above it)`,
      )
      return { ...nothing, place }
    }
    if (isMap(node) || isSeq(node) || isScalar(node)) {
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, node)
      const place = this.#placeOf(node.range, outer)
      if (isScalar(node)) return node.source === '' && node.type === 'PLAIN' ? nothing : this.#scalar(node, place)
      if (isSeq(node)) {
        const items = node.items.map((item, i) =>
          this.#read(item, { ...place, path: `${outer.path}[${i}]` }, depth + 1),
        )
        return { form: 'list', place, items }
      }
      return { form: 'map', place, entries: this.#entries(node.items, outer, depth) }
    }
    return nothing
  }

  #entries(pairs: readonly { key: unknown; value: unknown }[], outer: Place, depth: number): MapNode['entries'] {
    const entries = new Map<string, MapNode['entries'][number]>()
    for (const pair of pairs) {
      if (!isScalar(pair.key)) {
        this.#report(outer, 'a key must be a plain word (got a mapping, a list or an alias, allowed text)')
        continue
      }
      const key = pair.key.source ?? String(pair.key.value)
      const keyPlace = this.#placeOf(pair.key.range, { ...outer, path: childPath(outer.path, key) })
      const first = entries.get(key)
      if (first !== undefined)
        this.#report(keyPlace, `written twice (got it here and on line ${first.keyPlace.line}, allowed once)`)
      else entries.set(key, { key, keyPlace, node: this.#read(pair.value, keyPlace, depth + 1) })
    }
    return [...entries.values()]
  }

  #scalar(node: Scalar, place: Place): ScalarNode {
    const plain = node.type === 'PLAIN'
    const written = typeof node.value === 'string' ? node.value : (node.source ?? String(node.value))
    if (!mentionsEnv(written))
      return { form: 'scalar', place, value: plainValue(node.value), text: written, template: null }
    const { text, wrong } = expandEnv(written, this.#env)
    for (const message of wrong) this.#report(place, message)
    // Unquoted, it is as if the value had been written there; YAML would not have kept the space around it either.
    const value = plain ? resolveCore(text.trim()) : text
    return { form: 'scalar', place, value, text: plain ? text.trim() : text, template: written }
  }

  #placeOf(range: readonly number[] | null | undefined, outer: Place): Place {
    const { line, col } = this.#lines.linePos(range?.[0] ?? 0)
    return { path: outer.path, line, column: col }
  }
}

function plainValue(value: unknown): ScalarNode['value'] {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null
}

/** How deep the collections of the token tree are nested, without recursion. */
function deepest(tokens: Iterable<CST.Token>): number {
  let deepest = 0
  const open: { token: CST.Token; depth: number }[] = [...tokens].map(token => ({ token, depth: 0 }))
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next
    deepest = Math.max(deepest, depth)
    if (token.type === 'document' && token.value) open.push({ token: token.value, depth })
    if (!CST.isCollection(token)) continue
    for (const item of token.items) {
      if (item.key) open.push({ token: item.key, depth: depth + 1 })
      if (item.value) open.push({ token: item.value, depth: depth + 1 })
    }
  }
  return deepest
}

function yamlMessage(code: string, message: string, line: string): string {
  if (code === 'MULTIPLE_DOCS') return 'more than one YAML document (got a second one, allowed one)'
  if (code === 'TAG_RESOLVE_FAILED')
    return `YAML tags are not supported (${message.replace(/^Unresolved tag: /, 'got ')}, allowed plain values)`
  const hint =
    code === 'UNEXPECTED_TOKEN' && /[[{].*\$\{/.test(line)
      ? '; inside { } and [ ] put "$NAME" with its braces in quotes, or give the value a line of its own'
      : ''
  return `not valid YAML: ${message}${hint}`
}
