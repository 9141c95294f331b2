import type { Rule } from './rule.ts'
import { database } from './rules/database.ts'
import { metrics } from './rules/metrics.ts'
import { pods } from './rules/pods.ts'
import { rollout } from './rules/rollout.ts'
import { traffic } from './rules/traffic.ts'

/** What schemas cannot say, by the sentence that must be true for each overlay. */
export const rules: Record<string, Rule> = { ...rollout, ...pods, ...database, ...traffic, ...metrics }
