import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { Deployment } from 'kubernetes-models/apps/v1/Deployment'
import { Job } from 'kubernetes-models/batch/v1/Job'
import { Ingress } from 'kubernetes-models/networking.k8s.io/v1/Ingress'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget'
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { Namespace } from 'kubernetes-models/v1/Namespace'
import { Service } from 'kubernetes-models/v1/Service'
import type { Raw } from './objects.ts'

type Validate = (object: unknown) => string | undefined

/** Kinds whose schemas are not in the repository. */
const unchecked = new Set(['barmancloud.cnpg.io/v1/ObjectStore'])

const ajv = new Ajv({ strict: false, validateFormats: false })
const text = readFileSync(join(import.meta.dirname, 'crds.json'), 'utf8')
const crds: Record<string, object> = JSON.parse(text.replaceAll('(?i)(', '(?i:')) // Go's patterns in JavaScript's syntax

const models = [Deployment, Job, Ingress, NetworkPolicy, PodDisruptionBudget, ConfigMap, Namespace, Service]
const validators = new Map<string, Validate>([
  ...Object.entries(crds).map(([kind, schema]) => [kind, validateWith(schema)] as const),
  ...models.map((Model) => [`${Model.apiVersion}/${Model.kind}`, validateAs(Model)] as const),
])

/** Returns what the schema of its kind finds wrong with an object, or undefined. */
export function validate(object: Raw): string | undefined {
  const kind = `${object.apiVersion}/${object.kind}`
  if (unchecked.has(kind)) return undefined
  const check = validators.get(kind)
  const problem = check ? check(object) : 'is of a kind without a schema'
  return problem && `${object.kind} ${object.metadata.name}: ${problem}`
}

function validateWith(schema: object): Validate {
  const check = ajv.compile(schema)
  return (object) => (check(object) ? undefined : ajv.errorsText(check.errors, { dataVar: '' }))
}

/** The models ignore unknown fields, so those are searched for. */
function validateAs(Model: (typeof models)[number]): Validate {
  const check = (object: unknown) => {
    try {
      Reflect.construct(Model, [object]).validate()
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : 'is invalid'
    }
  }
  return (object) => {
    const copy = structuredClone(object)
    return check(copy) ?? findUnknown(copy, () => check(copy) === undefined)
  }
}

/** Returns the first field that accepts every value, even a function. Known fields do not. */
function findUnknown(value: unknown, isValid: () => boolean, path = ''): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, child] of Object.entries(value)) {
    Reflect.set(value, key, () => {})
    const isUnknown = isValid()
    Reflect.set(value, key, child)
    const problem = isUnknown ? `${path}/${key} is unknown` : findUnknown(child, isValid, `${path}/${key}`)
    if (problem) return problem
  }
  return undefined
}
