import { z } from 'zod'

const ChatModel = z
  .object({
    id: z.string(),
    default: z.boolean().meta({ description: 'Used when a request names no model' }),
    capabilities: z.object({ images: z.boolean(), tools: z.boolean(), reasoning: z.boolean() }),
    contextTokens: z.int().nullable().meta({ description: 'Prompt and answer together. Null: unknown' }),
    maxAnswerTokens: z.int().nullable(),
  })
  .meta({ id: 'ChatModel', description: 'A chat model that a request may choose' })

export const ChatModelList = z.object({ items: z.array(ChatModel), next: z.null() }).meta({
  description: 'All chat models, the default one first',
  examples: [
    {
      items: [
        {
          id: 'gpt-5-mini',
          default: true,
          capabilities: { images: true, tools: true, reasoning: true },
          contextTokens: 400_000,
          maxAnswerTokens: 16_384,
        },
      ],
      next: null,
    },
  ],
})
