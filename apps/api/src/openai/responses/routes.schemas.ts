import { z } from 'zod'
import { scopeFields } from '../../chat/scope.ts'

const Item = z.looseObject({
  type: z.string().nullish(),
  role: z.string().nullish(),
  content: z.union([z.string(), z.array(z.looseObject({}))], 'must be a string or a list of parts').nullish(),
})
const Tool = z.looseObject({ type: z.string() })

/** The parameters of a response that this server reads. The model's server accepts or rejects the others. */
export const ResponseRequest = z
  .looseObject({
    model: z.string().meta({ description: 'One of GET /v1/models' }),
    input: z.union([z.string(), z.array(Item).min(1)], 'must be a string or a list of items'),
    instructions: z.string().nullish(),
    stream: z.boolean().nullish(),
    max_output_tokens: z.int().min(1).nullish(),
    tools: z.array(Tool).nullish(),
    tool_choice: z.union([z.string(), Tool], 'must be a string or an object').nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    text: z.looseObject({ format: z.looseObject({ type: z.string() }).nullish() }).nullish(),
    reasoning: z.looseObject({ effort: z.string().nullish() }).nullish(),
    temperature: z.number().nullish(),
    top_p: z.number().nullish(),
    metadata: z.record(z.string(), z.string()).nullish(),
    retrieval: z.boolean().default(true).meta({ description: 'Ours: false leaves the documents out' }),
    ...scopeFields,
  })
  .meta({
    description:
      'As in https://platform.openai.com/docs/api-reference/responses/create, without what needs storage: `store` is ignored. Other parameters go to the model.',
    examples: [{ model: 'offline', input: 'Why does this project use PgBouncer?' }],
  })

export type ResponseRequest = z.output<typeof ResponseRequest>

const answer = {
  id: 'resp_1',
  object: 'response',
  status: 'completed',
  output: [
    {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [
        {
          type: 'output_text',
          text: 'At nine. [1]',
          annotations: [
            { type: 'file_citation', file_id: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11', filename: 'Handbook', index: 0 },
          ],
          logprobs: [],
        },
      ],
    },
  ],
}

const Response = z.looseObject({ object: z.literal('response') }).meta({
  description: "A response of OpenAI's, with the passages that the model was given in `citations`",
  examples: [answer],
})

const EventStream = z.string().meta({
  description: 'With `stream`: the events of a response, up to `response.completed`, `.incomplete` or `.failed`',
  examples: ['event: response.completed\ndata: {"type":"response.completed","sequence_number":8,"response":{}}\n\n'],
})

export const responded = {
  description: 'The answer, streamed or whole',
  content: { 'application/json': { schema: Response }, 'text/event-stream': { schema: EventStream } },
}
