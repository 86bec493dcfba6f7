/** What is to happen, in the order of its time; at one time, in the order in which it was put down. */
export class Agenda<T> {
  readonly #times: number[] = []
  readonly #orders: number[] = []
  readonly #things: T[] = []
  #count = 0

  get size(): number {
    return this.#times.length
  }

  add(time: number, thing: T): void {
    let at = this.#times.length
    const order = this.#count++
    // A binary heap: up, past everybody who is later.
    this.#times.push(time)
    this.#orders.push(order)
    this.#things.push(thing)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((this.#times[parent] as number) <= time) break
      this.#move(parent, at)
      at = parent
    }
    this.#put(at, time, order, thing)
  }

  /** The next one, handed to `perform`; false: there is none. */
  next(perform: (time: number, thing: T) => void): boolean {
    const time = this.#times[0]
    if (time === undefined) return false
    const thing = this.#things[0] as T
    const lastTime = this.#times.pop() as number
    const lastOrder = this.#orders.pop() as number
    const lastThing = this.#things.pop() as T
    if (this.#times.length > 0) this.#sink(lastTime, lastOrder, lastThing)
    perform(time, thing)
    return true
  }

  #sink(time: number, order: number, thing: T): void {
    const n = this.#times.length
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= n) break
      if (child + 1 < n && this.#before(child + 1, child)) child++
      const childTime = this.#times[child] as number
      if (time < childTime || (time === childTime && order < (this.#orders[child] as number))) break
      this.#move(child, at)
      at = child
    }
    this.#put(at, time, order, thing)
  }

  #before(a: number, b: number): boolean {
    const [ta, tb] = [this.#times[a] as number, this.#times[b] as number]
    return ta < tb || (ta === tb && (this.#orders[a] as number) < (this.#orders[b] as number))
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from] as number, this.#orders[from] as number, this.#things[from] as T)
  }

  #put(at: number, time: number, order: number, thing: T): void {
    this.#times[at] = time
    this.#orders[at] = order
    this.#things[at] = thing
  }
}
