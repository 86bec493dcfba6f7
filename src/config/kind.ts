/**
 * The grammar that the schema is written in. A `Kind` is what a value may be; a `Field` is a key with its kind, its
 * meaning and its default. Parser, JSON Schema and reference all walk the same objects.
 */

import type { Parsed } from './duration.ts'
import { mentionsEnv } from './env.ts'
import { childPath, type Place, type Report, type ScalarNode, type SourceNode } from './source.ts'
import { didYouMean, quote, show } from './words.ts'

export type JsonSchema = { readonly [keyword: string]: unknown }

export interface Kind<T> {
  /** For the reference: `duration`. */
  readonly type: string
  /** Completes "allowed ..." in messages and in the reference. */
  readonly allowed: string
  /** Reports what is wrong, and then gives `undefined` or what could be made of it. */
  readonly read: (node: SourceNode, report: Report) => T | undefined
  readonly form: Form
}

export type Form =
  | { readonly is: 'scalar'; readonly json: JsonSchema }
  | { readonly is: 'section'; readonly fields: Fields; readonly later: readonly string[]; readonly off: boolean }
  | { readonly is: 'list'; readonly item: Kind<unknown>; readonly least: number; readonly nullable: boolean }
  | { readonly is: 'dictionary'; readonly key: Kind<string>; readonly item: Kind<unknown>; readonly least: number }

export interface Field<T> {
  readonly kind: Kind<unknown>
  readonly doc: string
  /** As it would be written; null where there is none; for the reference and the editor. */
  readonly builtIn: string | null
  readonly required: boolean
  readonly read: (node: SourceNode | undefined, place: Place, report: Report) => T
}
export type Fields = { readonly [key: string]: Field<unknown> }
export type Values<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** A field of the levels `defaults`, `upstreams.NAME`, `routes[i]`: read as written or `undefined`; the built-in comes last. */
export interface InheritedField<T> extends Field<T | undefined> {
  readonly builtInValue: T
}

export function scalar<T>(
  description: { readonly type: string; readonly allowed: string; readonly json: JsonSchema },
  parse: (node: ScalarNode) => Parsed<T>,
): Kind<T> {
  const { type, allowed, json } = description
  return {
    type,
    allowed,
    form: { is: 'scalar', json },
    read: (node, report) => {
      const parsed: Parsed<T> = node.form === 'scalar' ? parse(node) : { wrong: `not a ${type}` }
      if ('value' in parsed) return parsed.value
      const nothing = node.form === 'scalar' && node.value === null && node.text === ''
      const got = parsed.hide === true && !nothing ? 'a value that is not shown' : show(node)
      report(node.place, `${nothing ? 'no value' : parsed.wrong} (got ${got}, allowed ${allowed})`)
      return undefined
    },
  }
}

/** `null` and leaving it out mean the same. */
export function orNull<T>(kind: Kind<T>): Kind<T | null> {
  return {
    ...kind,
    allowed: `${kind.allowed}, or null`,
    form:
      kind.form.is === 'scalar'
        ? { is: 'scalar', json: { anyOf: [kind.form.json, { type: 'null' }] } }
        : kind.form.is === 'list'
          ? { ...kind.form, nullable: true }
          : kind.form,
    read: (node, report) => (isNothing(node) ? null : kind.read(node, report)),
  }
}

/** A kind that gives a value in any case: where something was reported, what could be made of it. */
export interface TotalKind<T> extends Kind<T> {
  readonly read: (node: SourceNode, report: Report) => T
}

/** A mapping with known keys. `later`: keys that are reserved for what this version does not do yet. */
export function section<F extends Fields>(
  fields: F,
  later: readonly string[] = [],
  type = 'mapping',
): TotalKind<Values<F>> & { readonly fields: F } {
  const known = Object.keys(fields)
  const read = (node: SourceNode, report: Report): Values<F> => {
    const isMapping = node.form === 'map' || isNothing(node)
    if (!isMapping) report(node.place, `not a mapping (got ${show(node)}, allowed a mapping with ${known.join(', ')})`)
    const entries = node.form === 'map' ? node.entries : []
    for (const { key, keyPlace } of entries) {
      if (Object.hasOwn(fields, key)) continue
      const wrong = later.includes(key) ? 'not supported yet' : `unknown key${didYouMean(key, known)}`
      report(keyPlace, `${wrong} (got ${quote(key)}, allowed ${known.join(', ')})`)
    }
    const values = known.map(key => {
      const place = { ...node.place, path: childPath(node.place.path, key) }
      const value = entries.find(entry => entry.key === key)?.node
      return [key, fields[key]?.read(value, place, isMapping ? report : ignore)]
    })
    return Object.fromEntries(values) as Values<F> // every known key, each read by its own field
  }
  return {
    type,
    allowed: known.join(', '),
    form: { is: 'section', fields, later, off: false },
    read,
    fields,
  }
}

/** A section that `off` (or YAML 1.1's `false`) switches off as a whole. */
export function orOff<F extends Fields>(kind: TotalKind<Values<F>>): TotalKind<Values<F> | null> {
  return {
    ...kind,
    type: 'mapping or off',
    form: kind.form.is === 'section' ? { ...kind.form, off: true } : kind.form,
    read: (node, report) => (isOff(node) ? null : kind.read(node, report)),
  }
}

/** `identity`: what makes two items the same, where that is an error. */
export function list<T>(item: Kind<T>, least: number, identity?: (value: T) => string): TotalKind<readonly T[]> {
  const allowed = `a list of ${least > 0 ? 'at least one ' : ''}${item.type}`
  return {
    type: `list of ${item.type}`,
    allowed,
    form: { is: 'list', item, least, nullable: false },
    read: (node, report) => {
      if (node.form !== 'list' || node.items.length < least) {
        report(
          node.place,
          `${node.form === 'list' || isNothing(node) ? 'empty' : 'not a list'} (got ${show(node)}, allowed ${allowed})`,
        )
        return []
      }
      const seen = new Set<string>()
      return node.items.flatMap(each => {
        const value = item.read(each, report)
        if (value === undefined) return []
        if (identity !== undefined && seen.has(identity(value))) {
          report(each.place, `listed twice (got ${show(each)}, allowed once)`)
        }
        if (identity !== undefined) seen.add(identity(value))
        return [value]
      })
    },
  }
}

/** A mapping whose keys are the operator's own. `identity`: what makes two keys the same beside being spelled alike. */
export function dictionary<T>(
  key: Kind<string>,
  item: Kind<T>,
  least: number,
  identity: (key: string) => string = key => key,
): TotalKind<readonly (readonly [string, T])[]> {
  const allowed = `a mapping from ${key.type} to ${item.type}${least > 0 ? ', with at least one' : ''}`
  return {
    type: `mapping from ${key.type} to ${item.type}`,
    allowed,
    form: { is: 'dictionary', key, item, least },
    read: (node, report) => {
      const entries = node.form === 'map' ? node.entries : []
      if ((node.form !== 'map' && !isNothing(node)) || entries.length < least) {
        report(
          node.place,
          `${node.form === 'map' || isNothing(node) ? 'empty' : 'not a mapping'} (got ${show(node)}, allowed ${allowed})`,
        )
      }
      const seen = new Set<string>()
      return entries.flatMap(entry => {
        if (mentionsEnv(entry.key)) {
          report(
            entry.keyPlace,
            `environment variables are expanded in values, not in keys (got ${quote(entry.key)}, allowed ${key.allowed})`,
          )
        }
        const name = key.read(
          { form: 'scalar', place: entry.keyPlace, value: entry.key, text: entry.key, template: null },
          report,
        )
        const value = item.read(entry.node, report)
        if (name === undefined || value === undefined) return []
        if (seen.has(identity(name)))
          report(entry.keyPlace, `written twice, in another case (got ${quote(name)}, allowed once)`)
        seen.add(identity(name))
        return [[name, value] as const]
      })
    },
  }
}

export const ignore: Report = () => {}

/** `key:` with nothing behind it, or null: an empty section, as when all its keys are commented out. */
function isNothing(node: SourceNode): boolean {
  return node.form === 'scalar' && node.value === null
}

export function isOff(node: SourceNode): boolean {
  return node.form === 'scalar' && (node.value === false || node.value === 'off')
}
