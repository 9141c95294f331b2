import type { Config } from '@repo/config'
import type { Spent, UsageRecorder } from '@repo/db'
import type { FastifyRequest } from 'fastify'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of the API key. Undefined for other credentials. */
    keyId: string | undefined
    /** Set by authentication if tokens of the owner or the key are limited and this request may use some. */
    budget: Budget | undefined
  }
}

export type Budget = {
  /** The limit of the key. Null: none. */
  tokensPerDay: number | null
  /** What other processes have counted today. Null for an owner without usage. */
  spent: Spent | null
}

const dayMs = 86_400_000

/** Returns whether a request may use tokens of its owner's budget at once. */
export function isSpending({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.config.rateLimit === true
}

/**
 * Returns the check of the daily token budgets. It returns an error when the owner or the key has used them up. It compares
 * numbers in memory: those of other processes came with the authentication, those of this one are exact. Answers that are
 * running count when they end, so they can exceed a budget.
 */
export function createBudgetCheck(
  { OWNER_TOKENS_PER_DAY: maxOfOwner }: Pick<Config, 'OWNER_TOKENS_PER_DAY'>,
  usage: UsageRecorder,
): (request: FastifyRequest) => ProblemError | undefined {
  return ({ owner, keyId, budget }) => {
    if (!budget) return undefined
    const { spent, tokensPerDay: maxOfKey } = budget
    const here = usage.spent(owner, keyId)
    if (maxOfOwner > 0 && (spent?.owner ?? 0) + here.owner >= maxOfOwner) return usedUp(maxOfOwner, 'you')
    if (maxOfKey !== null && (spent?.key ?? 0) + here.key >= maxOfKey) return usedUp(maxOfKey, 'this key')
    return undefined
  }
}

function usedUp(limit: number, who: string): ProblemError {
  const msLeft = dayMs - (Date.now() % dayMs)
  const reset = new Date(Date.now() + msLeft).toISOString().replace('.000', '')
  const detail = `The token budget for today is used up: ${limit} tokens per day for ${who}. It resets at ${reset}.`
  return new ProblemError(429, 'token_budget', detail, { retryAfterSeconds: msLeft / 1000, extra: { limit } })
}
