/** A configuration as it was written: a small tree in which every value knows its path, line and column. */

export interface Place {
  readonly path: string
  /** 1-based. */
  readonly line: number
  readonly column: number
}

export type Report = (place: Place, message: string) => void

export interface ScalarNode {
  readonly form: 'scalar'
  readonly place: Place
  readonly value: string | number | boolean | null
  /** As written, without quotes, after `${ENV}` expansion. */
  readonly text: string
  /** The text before expansion, where there was something to expand. */
  readonly template: string | null
}
export interface ListNode {
  readonly form: 'list'
  readonly place: Place
  readonly items: readonly SourceNode[]
}
export interface MapNode {
  readonly form: 'map'
  readonly place: Place
  readonly entries: readonly { readonly key: string; readonly keyPlace: Place; readonly node: SourceNode }[]
}
export type SourceNode = ScalarNode | ListNode | MapNode

export function child(node: SourceNode, key: string): SourceNode | undefined {
  return node.form === 'map' ? node.entries.find(entry => entry.key === key)?.node : undefined
}

/** Where a value was written; the nearest value around it where it was left out. The path is the whole one in either case. */
export function locate(root: SourceNode, ...keys: readonly (string | number)[]): Place {
  let place: Place = { ...root.place, path: '' }
  let node: SourceNode | undefined = root
  for (const key of keys) {
    const path = typeof key === 'number' ? `${place.path}[${key}]` : childPath(place.path, key)
    if (typeof key === 'string') node = node === undefined ? undefined : child(node, key)
    else node = node?.form === 'list' ? node.items[key] : undefined
    place = { ...(node?.place ?? place), path }
  }
  return place
}

/** The path of a key below `path`. Dots in names stay bare: `upstreams.NAME` is how origins name them too. */
export function childPath(path: string, key: string): string {
  if (!/^[A-Za-z0-9_.-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`
  return path === '' ? key : `${path}.${key}`
}
