/**
 * Metric families whose values live elsewhere, as plain numbers, and are read when prom-client is scraped.
 *
 * Why not its own Counter and Histogram: they hash the label object at every call, `labels()` children included, about
 * 1 us each (measured, prom-client 15.1.3), and an exchange makes a dozen such calls.
 */
import type { Metric, Registry } from 'prom-client'
import type { HistogramCell, Labels } from './cells.ts'

export type Emit = (labels: Labels, value: number) => void
type EmitCell = (cell: HistogramCell) => void

/** One line of the exposition text, in the form that prom-client's registry prints. */
interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly sharedLabels: Labels
  readonly value: number
}

const NO_LABELS: Labels = {}

function register(
  registry: Registry,
  name: string,
  help: string,
  type: 'counter' | 'gauge' | 'histogram',
  collect: () => Sample[],
): void {
  const family = {
    name,
    help,
    type,
    aggregator: 'sum',
    get: () => Promise.resolve({ name, help, type, aggregator: 'sum', values: collect() }),
    // For Registry.resetMetrics(). The numbers belong to their owners.
    reset: () => undefined,
  }
  // Of a metric the registry uses `name`, `get()` and `reset()`; its types admit its own four classes only.
  registry.registerMetric(family as unknown as Metric)
}

function registerNumbers(
  registry: Registry,
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  read: (emit: Emit) => void,
): void {
  register(registry, name, help, type, () => {
    const samples: Sample[] = []
    read((labels, value) => samples.push({ metricName: name, labels: NO_LABELS, sharedLabels: labels, value }))
    return samples
  })
}

export function registerCounter(registry: Registry, name: string, help: string, read: (emit: Emit) => void): void {
  registerNumbers(registry, 'counter', name, help, read)
}

export function registerGauge(registry: Registry, name: string, help: string, read: (emit: Emit) => void): void {
  registerNumbers(registry, 'gauge', name, help, read)
}

export function registerHistogram(
  registry: Registry,
  name: string,
  help: string,
  read: (emit: EmitCell) => void,
): void {
  const bucketName = `${name}_bucket`
  register(registry, name, help, 'histogram', () => {
    const samples: Sample[] = []
    read(cell => {
      const sharedLabels = cell.labels
      let below = 0
      cell.bounds.forEach((bound, index) => {
        below += cell.bucket(index)
        samples.push({ metricName: bucketName, labels: { le: bound }, sharedLabels, value: below })
      })
      samples.push({ metricName: bucketName, labels: { le: '+Inf' }, sharedLabels, value: cell.count })
      samples.push({ metricName: `${name}_sum`, labels: NO_LABELS, sharedLabels, value: cell.sum })
      samples.push({ metricName: `${name}_count`, labels: NO_LABELS, sharedLabels, value: cell.count })
    })
    return samples
  })
}
