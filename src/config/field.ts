/** The ways a key can be there: with a default, inherited, required, or simply written or not. */
import { resolveCore } from './env.ts'
import { type Field, type InheritedField, ignore, type Kind, type TotalKind } from './kind.ts'
import type { Place, SourceNode } from './source.ts'

/** A field with a built-in default, given as it would be written. */
export function optional<T>(kind: Kind<T>, builtIn: string, doc: string): Field<T> {
  const { builtInValue } = inherited(kind, builtIn, doc)
  const read: Field<T>['read'] = (node, _place, report) => {
    const value = node === undefined ? undefined : kind.read(node, report)
    return value === undefined ? builtInValue : value
  }
  return { kind, doc, builtIn, required: false, read }
}

export function inherited<T>(kind: Kind<T>, builtIn: string, doc: string): InheritedField<T> {
  const place: Place = { path: '(built-in)', line: 1, column: 1 }
  const node: SourceNode =
    builtIn === '[]'
      ? { form: 'list', place, items: [] }
      : builtIn === '{}'
        ? { form: 'map', place, entries: [] }
        : { form: 'scalar', place, value: resolveCore(builtIn), text: builtIn, template: null }
  const builtInValue = kind.read(node, (_, message) => {
    throw new Error(`the built-in default ${builtIn} is refused by its own kind: ${message}`)
  })
  if (builtInValue === undefined) throw new Error(`the built-in default ${builtIn} gives no value`)
  return { ...written(kind, doc), builtIn, builtInValue }
}

/** A field without a default: `undefined` when left out or wrong. */
export function written<T>(kind: Kind<T>, doc: string): Field<T | undefined> {
  const read: Field<T | undefined>['read'] = (node, _place, report) =>
    node === undefined ? undefined : kind.read(node, report)
  return { kind, doc, builtIn: null, required: false, read }
}

/** `undefined` only when something was reported. */
export function required<T>(kind: Kind<T>, doc: string): Field<T | undefined> {
  const read: Field<T | undefined>['read'] = (node, place, report) => {
    if (node !== undefined) return kind.read(node, report)
    report(place, `required, but missing (got nothing, allowed ${kind.allowed})`)
    return undefined
  }
  return { kind, doc, builtIn: null, required: true, read }
}

/** A list or dictionary that must be there; empty only when something was reported. */
export function requiredPart<T>(kind: TotalKind<T>, doc: string): Field<T> {
  const read: Field<T>['read'] = (node, place, report) => {
    if (node !== undefined) return kind.read(node, report)
    report(place, `required, but missing (got nothing, allowed ${kind.allowed})`)
    return kind.read({ form: 'scalar', place, value: null, text: '', template: null }, ignore)
  }
  return { kind, doc, builtIn: null, required: true, read }
}

/** A section that means something by being there: null where it is left out, its defaults where nothing is behind the key. */
export function presence<T>(kind: TotalKind<T>, doc: string): Field<T | null> {
  const read: Field<T | null>['read'] = (node, _place, report) => (node === undefined ? null : kind.read(node, report))
  return { kind, doc, builtIn: null, required: false, read }
}

/** A section that may be left out: its own fields then take their defaults. */
export function part<T>(kind: TotalKind<T>, doc: string): Field<T> {
  const read: Field<T>['read'] = (node, place, report) => kind.read(node ?? { form: 'map', place, entries: [] }, report)
  return { kind, doc, builtIn: null, required: false, read }
}
