import type { AnswerEnd } from '@repo/db'
import { z } from 'zod'

type KnownEnd = Pick<AnswerEnd, 'finishReason' | 'inputTokens' | 'outputTokens' | 'cachedTokens'>

export const AnswerMetadata = z
  .object({
    finishReason: z.string().meta({ description: '`stop`, `length`, `content-filter`, `tool-calls` or `other`' }),
    usage: z
      .object({ inputTokens: z.int(), outputTokens: z.int(), cachedTokens: z.int().optional() })
      .optional()
      .meta({ description: 'Tokens of all model calls. Absent if the model server does not report them' }),
  })
  .meta({ id: 'AnswerMetadata', description: 'How an answer ended, and what it cost' })
export type AnswerMetadata = z.output<typeof AnswerMetadata>

/** Returns the `metadata` of an answer as a `UIMessage` has it, or undefined if it has not ended by itself. */
export function toMetadata({
  finishReason,
  inputTokens,
  outputTokens,
  cachedTokens,
}: KnownEnd): AnswerMetadata | undefined {
  if (finishReason === null) return undefined
  if (inputTokens === null || outputTokens === null) return { finishReason }
  return { finishReason, usage: { inputTokens, outputTokens, ...(cachedTokens !== null && { cachedTokens }) } }
}
