/**
 * prom-client's default process and Node.js metrics, collected once per process and shown in every gateway's registry.
 *
 * Its `collectDefaultMetrics` starts an event-loop monitor (a 10 ms timer) and a GC observer and keeps no way to stop
 * either: called per gateway, each gateway that a test starts would leave both running for ever. A process has one
 * event loop and one heap, so it is measured once; closing a gateway only takes the families out of its registry.
 * Neither holds the process: both handles are unreferenced.
 */
import { collectDefaultMetrics, Registry } from 'prom-client'

let ofThisProcess: Registry | undefined

function collected(): Registry {
  if (ofThisProcess === undefined) {
    ofThisProcess = new Registry()
    collectDefaultMetrics({ register: ofThisProcess })
  }
  return ofThisProcess
}

export function registerProcessMetrics(registry: Registry): void {
  const source = collected()
  for (const { name } of source.getMetricsAsArray()) {
    const metric = source.getSingleMetric(name)
    if (metric !== undefined) registry.registerMetric(metric)
  }
}
