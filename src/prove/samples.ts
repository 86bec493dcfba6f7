/** The numbers of a `/metrics` page. */

interface Sample {
  readonly labels: string
  readonly value: number
}

export class Samples {
  readonly #byName = new Map<string, Sample[]>()

  /** @param text Prometheus exposition format; only `hopgate_` families are kept */
  constructor(text: string) {
    for (const line of text.split('\n')) {
      if (!line.startsWith('hopgate_')) continue
      const value = Number(line.slice(line.lastIndexOf(' ') + 1))
      const brace = line.indexOf('{')
      const name = line.slice(0, brace === -1 ? line.indexOf(' ') : brace)
      const samples = this.#byName.get(name) ?? []
      samples.push({ labels: brace === -1 ? '' : line.slice(brace, line.lastIndexOf('}')), value })
      this.#byName.set(name, samples)
    }
  }

  /** The sum of the samples of `name` that have all of `labels`; 0 where there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const parts = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    let sum = 0
    for (const sample of this.#byName.get(name) ?? []) {
      if (parts.every(part => sample.labels.includes(part))) sum += sample.value
    }
    return sum
  }
}
