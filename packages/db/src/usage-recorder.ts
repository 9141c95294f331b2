import { randomUUID } from 'node:crypto'
import type { Spent, SpentBy, UsageRow } from './model-usage.ts'
import type { UsageKind } from './schema.ts'

/** What one call of a model used. */
export type ModelCall = {
  kind: UsageKind
  /** The name of the model that clients send. */
  model: string
  usage: {
    inputTokens: number
    outputTokens: number
    cachedInputTokens?: number | undefined
    reasoningTokens?: number | undefined
  }
  /** Whether the tokens are an estimate, because the model server reported none. */
  isEstimated?: boolean
  toolCalls?: number
}

export type UsageRecorder = ReturnType<typeof createUsageRecorder>

const maxRows = 10_000 // about 5 MB of memory

/**
 * Creates the counters of what this process used models for. They are whole counts, never differences, so storing them
 * again changes nothing. `flush` stores those that have changed; once per second is enough. `onCount` receives each call.
 */
export function createUsageRecorder(onCount: (call: ModelCall) => void = () => {}) {
  let period = createPeriod()
  let unsaved = new Set<UsageRow>()

  return {
    /** Counts one call for an owner, and for the API key that it was made with. */
    count: (owner: string, keyId: string | undefined, call: ModelCall): void => {
      if (period.day !== getDay() || period.rows.size >= maxRows) period = createPeriod()
      const row = findRow(period, { owner, keyId: keyId ?? '', kind: call.kind, model: call.model })
      unsaved.add(addCall(row, call))
      const tokens = call.usage.inputTokens + call.usage.outputTokens
      onCount(call)
      for (const spender of [owner, row.keyId]) period.spent.set(spender, (period.spent.get(spender) ?? 0) + tokens)
    },

    /** Identifies this process and its day in queries of what others have counted. */
    spentBy: (): SpentBy => ({ day: getDay(), processId: period.processId }),

    /** Returns the tokens that this process has counted today, which `spentBy` leaves out. */
    spent: (owner: string, keyId: string | undefined): Spent => {
      const spent = period.day === getDay() ? period.spent : undefined
      return { owner: spent?.get(owner) ?? 0, key: (keyId !== undefined && spent?.get(keyId)) || 0 }
    },

    /** Calls `store` with the counts that have changed. Those that it does not store are sent again next time. */
    flush: async (store: (rows: UsageRow[]) => Promise<unknown>): Promise<void> => {
      const saving = unsaved
      unsaved = new Set()
      try {
        await store([...saving])
      } catch (error) {
        unsaved = saving.union(unsaved)
        throw error
      }
    },
  }
}

/**
 * The counts of one day under one id. With a new id, counting begins at 0 again and the old rows can be forgotten. So the
 * memory is limited, and a clock that is set back cannot overwrite a row with a smaller count.
 */
function createPeriod() {
  return {
    day: getDay(),
    processId: randomUUID(),
    rows: new Map<string, UsageRow>(),
    /** Tokens by the id of an owner or a key. */
    spent: new Map<string, number>(),
  }
}

type RowKey = Pick<UsageRow, 'owner' | 'keyId' | 'kind' | 'model'>

function findRow({ day, processId, rows }: ReturnType<typeof createPeriod>, key: RowKey): UsageRow {
  const id = JSON.stringify([key.owner, key.keyId, key.kind, key.model])
  const counts = { requests: 0, inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const row = rows.get(id) ?? { ...key, day, processId, ...counts, toolCalls: 0, estimated: 0 }
  rows.set(id, row)
  return row
}

function addCall(row: UsageRow, { usage, isEstimated = false, toolCalls = 0 }: ModelCall): UsageRow {
  row.requests += 1
  row.inputTokens += usage.inputTokens
  row.cachedTokens += usage.cachedInputTokens ?? 0
  row.outputTokens += usage.outputTokens
  row.reasoningTokens += usage.reasoningTokens ?? 0
  row.toolCalls += toolCalls
  row.estimated += Number(isEstimated)
  return row
}

/** Returns today's date in UTC, by the machine's clock. */
const getDay = () => new Date().toISOString().slice(0, 10)
