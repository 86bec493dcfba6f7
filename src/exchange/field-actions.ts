/** What is done with fields of certain names. Of nearly all others their length and their first letter tell that it is nothing. */
import type { Fields } from '../http1/fields.ts'

/** Few enough to stay in the processor's cache; two names that share one are told apart as texts. */
const PLACES = 256
/** The first letters of ASCII in either case. */
const LETTERS = 32

interface Named<Action> {
  readonly lower: string
  /** How nearly everybody writes it. */
  readonly usual: string
  action: Action
}

export class FieldActions<Action> {
  readonly #ofLookalikes: Action | undefined
  /** By length and first letter; undefined where there is none. */
  readonly #named: (Named<Action>[] | undefined)[] = new Array(PLACES).fill(undefined)

  /**
   * @param actions by name in lower case; of two with the same name the later counts
   * @param ofLookalikes what is done with names that are one of these to whoever takes `_` for `-`
   */
  constructor(actions: Iterable<readonly [string, Action]>, ofLookalikes?: Action) {
    this.#ofLookalikes = ofLookalikes
    for (const [lower, action] of new Map(actions)) {
      const named = { lower, usual: lower.replace(/(?:^|-)[a-z]/g, start => start.toUpperCase()), action }
      for (const first of new Set([lower, lower.replaceAll('-', '_')])) {
        const place = placeOf(first.length, first.charCodeAt(0))
        this.#named[place] = [...new Set([...(this.#named[place] ?? []), named])]
      }
    }
  }

  /** @returns undefined where nothing is done with it */
  of(fields: Fields, i: number): Action | undefined {
    const those = this.#named[placeOf(fields.nameLength(i), fields.text.charCodeAt(fields.lineAt(i)))]
    return those === undefined ? undefined : this.#among(those, fields.name(i))
  }

  #among(those: readonly Named<Action>[], name: string): Action | undefined {
    for (let i = 0; i < those.length; i++) {
      const { usual, action } = those[i] as Named<Action>
      if (name === usual) return action
    }
    const lower = name.toLowerCase()
    for (const named of those) if (named.lower === lower) return named.action
    if (this.#ofLookalikes === undefined || !lower.includes('_')) return undefined
    const plain = lower.replaceAll('_', '-')
    return those.some(named => named.lower === plain) ? this.#ofLookalikes : undefined
  }
}

function placeOf(length: number, first: number): number {
  return (length * LETTERS + (first % LETTERS)) % PLACES
}
