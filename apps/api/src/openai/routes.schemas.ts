import { z } from 'zod'
import { scopeFields } from '../chat/scope.ts'
import { Degraded } from '../chat/search-passages.ts'
import { SourceResponse } from '../chat/source.schemas.ts'

const model = { id: 'offline', object: 'model' as const, created: 1_795_500_000, owned_by: 'sluice' }

export const Model = z
  .object({ id: z.string(), object: z.literal('model'), created: z.int(), owned_by: z.string() })
  .meta({ id: 'Model', description: 'A model', examples: [model] })

export const ModelParams = z.object({
  id: z.string().meta({ description: 'One of GET /v1/models. Slashes may be encoded or not', examples: ['offline'] }),
})
export const ModelPath = z.object({ '*': z.string() })

export const ModelList = z.object({ object: z.literal('list'), data: z.array(Model) }).meta({
  description: 'The chat model and the embedding model',
  examples: [{ object: 'list', data: [model] }],
})

const ContentPart = z.looseObject({ type: z.string() })

const Message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(ContentPart)], 'must be a string or a list of parts').nullish(),
})

const positive = z.int().min(1).nullish()

/** The parameters of a completion that this server reads. The model's server accepts or rejects the others. */
export const CompletionRequest = z
  .looseObject({
    model: z.string().meta({ description: 'One of GET /v1/models' }),
    messages: z.array(Message).min(1, 'must end with a message from the user'),
    stream: z.boolean().nullish(),
    stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
    n: positive,
    stop: z.union([z.string(), z.array(z.string())], 'must be a string or a list of strings').nullish(),
    max_tokens: positive,
    max_completion_tokens: positive,
    retrieval: z.boolean().default(true).meta({ description: 'Ours: false leaves the documents out' }),
    ...scopeFields,
  })
  .meta({
    description: 'As in https://platform.openai.com/docs/api-reference/chat/create; other parameters go to the model.',
    examples: [{ model: 'offline', messages: [{ role: 'user', content: 'Why does this project use PgBouncer?' }] }],
  })

/** Without retrieval these are the model's own citations, as with Perplexity, in any schema. */
const Citations = z.union([z.array(SourceResponse), z.unknown()])

const CompletionResponse = z
  .looseObject({ citations: Citations.optional(), degraded: z.union([Degraded, z.unknown()]).optional() })
  .meta({
    description: "A chat.completion of OpenAI's, with the passages that the model was given",
    examples: [
      {
        id: 'chatcmpl-1',
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', content: 'At nine. [1]' }, finish_reason: 'stop' }],
        citations: [
          {
            n: 1,
            documentId: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11',
            chunkId: '9b1c6a52-58a1-4b0e-8f4e-2d1f6c1b7a90',
            title: 'Handbook',
            start: 0,
            end: 42,
          },
        ],
      },
    ],
  })

const ChunkStream = z.string().meta({
  description: 'With `stream`: chat.completion.chunk events; the first has the citations',
  examples: [
    'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Nine"}}]}\n\ndata: [DONE]\n\n',
  ],
})

export const completed = {
  description: 'The answer, streamed or whole',
  content: { 'application/json': { schema: CompletionResponse }, 'text/event-stream': { schema: ChunkStream } },
}

const maxInputs = 2048 // OpenAI's own limit

const Input = z.union([z.string(), z.array(z.string()).min(1).max(maxInputs)], {
  error: `must be a string or a list of 1 to ${maxInputs} strings. Lists of tokens are not supported`,
})

export const EmbeddingRequest = z
  .looseObject({
    model: z.string().meta({ description: 'One of GET /v1/models' }),
    input: Input,
    encoding_format: z.enum(['float', 'base64']).default('float'),
    dimensions: positive,
  })
  .meta({ examples: [{ model: 'offline-384', input: 'When does the office open?' }] })

/** Not validated: checking millions of numbers would delay every stream. */
const Vector = z.unknown().meta({ anyOf: [{ type: 'array', items: { type: 'number' } }, { type: 'string' }] })

export const EmbeddingResponse = z.looseObject({ data: z.array(z.looseObject({ embedding: Vector })) }).meta({
  description: 'A list of embeddings as OpenAI gives it; in base64 they are little-endian 32-bit floats',
  examples: [{ object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0.12, -0.03] }] }],
})
