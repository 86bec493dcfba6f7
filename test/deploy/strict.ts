/**
 * What a Kubernetes API server would say to a manifest: its schemas, from the packages `kubernetes-models` and
 * `@kubernetes-models/prometheus-operator`, and, as `kubectl --validate=strict` does, no field that they do not know.
 * The compiled schemas pass over unknown fields in silence; but they look at every field they know, so one that nobody
 * has looked at is unknown.
 */
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor'
import { Deployment } from 'kubernetes-models/apps/v1/Deployment'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget'
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { Namespace } from 'kubernetes-models/v1/Namespace'
import { Service } from 'kubernetes-models/v1/Service'
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount'

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> }
  // biome-ignore lint/suspicious/noExplicitAny: it has as many shapes as there are kinds, and the schema checks them.
  readonly [field: string]: any
}

const KINDS: Readonly<Record<string, { readonly prototype: { validate(): void } }>> = {
  'apps/v1 Deployment': Deployment,
  'autoscaling/v2 HorizontalPodAutoscaler': HorizontalPodAutoscaler,
  'monitoring.coreos.com/v1 PrometheusRule': PrometheusRule,
  'monitoring.coreos.com/v1 ServiceMonitor': ServiceMonitor,
  'networking.k8s.io/v1 NetworkPolicy': NetworkPolicy,
  'policy/v1 PodDisruptionBudget': PodDisruptionBudget,
  'v1 ConfigMap': ConfigMap,
  'v1 Namespace': Namespace,
  'v1 Service': Service,
  'v1 ServiceAccount': ServiceAccount,
}

/** @returns what is wrong with it, each with its path; nothing if the API server would take it */
export function mistakesOf(manifest: Manifest): readonly string[] {
  const Kind = KINDS[`${manifest.apiVersion} ${manifest.kind}`]
  if (Kind === undefined) return [`no schema for ${manifest.apiVersion} ${manifest.kind}`]
  const looked = new Map<object, Set<string>>()
  const wrong: string[] = []
  try {
    // Not of an instance: its constructor copies the fields, and so looks at them all.
    Kind.prototype.validate.call(watched(manifest, looked))
  } catch (error) {
    wrong.push((error as Error).message)
  }
  wrong.push(...unknownIn(manifest, '', looked))
  return wrong
}

function watched<T>(value: T, looked: Map<object, Set<string>>): T {
  if (typeof value !== 'object' || value === null) return value
  const keys = looked.get(value) ?? new Set<string>()
  looked.set(value, keys)
  return new Proxy(value, {
    get: (target, key) => {
      if (typeof key === 'string') keys.add(key)
      return watched(Reflect.get(target, key), looked)
    },
  })
}

function unknownIn(value: unknown, path: string, looked: Map<object, Set<string>>): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  if (Array.isArray(value)) return value.flatMap((item, index) => unknownIn(item, `${path}[${index}]`, looked))
  return Object.entries(value).flatMap(([key, inner]) =>
    looked.get(value)?.has(key) === true
      ? unknownIn(inner, `${path}.${key}`, looked)
      : [`${path}.${key}: no such field`],
  )
}
