/** The fields of a head that go on, as text: those that are plain and follow one another in one piece. */
import type { Fields } from './fields.ts'

export class FieldCopy {
  readonly #fields: Fields
  #text = ''
  /** A run of plain lines that is not in `#text` yet. */
  #from = 0
  #to = 0

  constructor(fields: Fields) {
    this.#fields = fields
  }

  /** @param i greater each time */
  add(i: number): void {
    const fields = this.#fields
    if (!fields.isPlain(i)) {
      this.#text = this.text + fields.line(i)
      this.#from = this.#to
      return
    }
    const at = fields.lineAt(i)
    if (at !== this.#to) {
      this.#text = this.text
      this.#from = at
    }
    this.#to = fields.lineAt(i + 1)
  }

  /** Each with its CRLF. */
  get text(): string {
    if (this.#from === this.#to) return this.#text
    const run = this.#fields.text.slice(this.#from, this.#to)
    return this.#text === '' ? run : this.#text + run
  }
}
