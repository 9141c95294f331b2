import { computeCost } from '@repo/config'
import type { UsageCounts } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { toDays, UsageQuery, UsageResponse } from './usage.schemas.ts'

type Counted = UsageCounts & { model: string; cost?: number | undefined }

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'readUsage',
        summary: 'Read what models were used for, per day or per model',
        querystring: UsageQuery,
        response: { 200: UsageResponse },
      },
    },
    async ({ owner, query: { by, ...given } }) => {
      const days = toDays(given)
      const rows = await app.store.usage.read(owner, days, by)
      const priced = rows.map((row) => ({ ...row, cost: computeCost(app.prices, row) }))
      const byDay = Map.groupBy(priced, ({ day }) => day)
      const items =
        by === 'day'
          ? Array.from(byDay, ([day, models]) => ({ day, ...toCounts(models) }))
          : priced.map((row) => ({ model: row.model, kind: row.kind, ...toCounts([row]) }))
      return { items, ...days }
    },
  )
}

/** Adds up rows. Their cost is that of the models with a price. */
function toCounts(rows: Counted[]) {
  const sum = (read: (row: Counted) => number) => rows.reduce((total, row) => total + read(row), 0)
  const hasCost = rows.some(({ cost }) => cost !== undefined)
  return {
    requests: sum(({ requests }) => requests),
    inputTokens: sum(({ inputTokens }) => inputTokens),
    cachedInputTokens: sum(({ cachedTokens }) => cachedTokens),
    outputTokens: sum(({ outputTokens }) => outputTokens),
    reasoningTokens: sum(({ reasoningTokens }) => reasoningTokens),
    toolCalls: sum(({ toolCalls }) => toolCalls),
    estimated: sum(({ estimated }) => estimated),
    ...(hasCost && { cost: roundCost(sum(({ cost = 0 }) => cost)) }),
  }
}

/** A millionth of a dollar is the price of one token at 1 dollar per million. */
const roundCost = (cost: number) => Math.round(cost * 1_000_000) / 1_000_000

export default routes
