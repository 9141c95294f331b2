import type { Facts } from './facts.ts'
import type { Manifests } from './objects.ts'

/** Returns what is wrong with the objects of an overlay, one sentence per problem. */
export type Rule = (manifests: Manifests, facts: Facts) => string[]
