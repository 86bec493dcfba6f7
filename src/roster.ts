/**
 * Who is there now, in the order in which they came; `add` and `remove` take constant time.
 *
 * In place of a `Set` wherever members come and go with requests. A `Set` that fills up moves to a new table, and V8
 * keeps a pointer from the old table to the new one (for iterators under way), with the members in the old one left in it.
 * Once a scavenge has promoted an old table, all its successors survive every scavenge after it, and with them nearly
 * all that requests leave behind, until a full collection: 29 % of the young generation instead of 1.5 % (measured:
 * 28 us of CPU per request became 35, p99 4 ms became 20).
 */
export class Roster<T> implements Iterable<T> {
  #size = 0
  #first: Place<T> | undefined
  #last: Place<T> | undefined

  get size(): number {
    return this.#size
  }

  /** Who has been here longest. */
  get first(): T | undefined {
    return this.#first?.member
  }

  /** @returns what `remove` wants to see */
  add(member: T): Place<T> {
    const place = new Place(member, this.#last)
    if (this.#last === undefined) this.#first = place
    else this.#last.after = place
    this.#last = place
    this.#size++
    return place
  }

  /** @returns false where it was never there, or is gone */
  remove(place: Place<T> | undefined): boolean {
    if (place === undefined || place.gone) return false
    const { before, after } = place
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    // What is gone must not keep alive who came after it: that is the whole point.
    place.before = undefined
    place.after = undefined
    place.gone = true
    this.#size--
    return true
  }

  /** Takes out who has been here longest. */
  shift(): T | undefined {
    const first = this.#first
    this.remove(first)
    return first?.member
  }

  /** Those who are there at this moment: who comes or goes meanwhile makes no difference. */
  [Symbol.iterator](): IterableIterator<T> {
    const members: T[] = []
    for (let place = this.#first; place !== undefined; place = place.after) members.push(place.member)
    return members.values()
  }
}

/** A member's place in a roster. */
export class Place<T> {
  readonly member: T
  before: Place<T> | undefined
  after: Place<T> | undefined
  gone = false

  constructor(member: T, before: Place<T> | undefined) {
    this.member = member
    this.before = before
    this.after = undefined
  }
}
