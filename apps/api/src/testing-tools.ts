import { randomUUID } from 'node:crypto'
import { type AnswerEvent, type ChatRequest, toLlm } from '@repo/llm'
import { createTestModels } from '@repo/testing/test-models'
import { z } from 'zod'
import { type TestOptions, testApp } from './testing.ts'

/** A call as it is stored. `output` or `errorText` is the tool's result. */
const StoredCall = z.looseObject({
  type: z.string(),
  state: z.string(),
  output: z.json().optional(),
  errorText: z.string().optional(),
})

/** Starts the app with a model that calls the tools of tools/. `callTool` asks it to, through `POST /chat`. */
export async function testTools(options: Omit<TestOptions, 'llm'> = {}) {
  const models = createTestModels()
  const capabilities = { ...models.chat.capabilities, tools: true }
  const chat = { ...models.chat, capabilities, stream: callOnce }
  const test = await testApp({ ...options, llm: toLlm({ ...models, chat }) })
  return {
    ...test,
    /** Returns a call of a tool with its result, as the conversation contains it. The owner is Alice by default. */
    callTool: async (toolName: string, input: object, headers = test.alice) => {
      const conversationId = randomUUID()
      const payload = { conversationId, message: JSON.stringify({ toolName, input: JSON.stringify(input) }) }
      await test.app.inject({ method: 'POST', url: '/chat', headers, payload })
      const conversation = await test.app.inject({ url: `/conversations/${conversationId}`, headers })
      const parts: { type: string }[] = conversation.json().messages.at(-1).parts
      return StoredCall.parse(parts.find(({ type }) => type === `tool-${toolName}`))
    },
  }
}

/** Calls the tool that the question names, and ends the answer after its result. */
async function callOnce({ messages, question = '' }: ChatRequest): Promise<AsyncIterable<AnswerEvent[]>> {
  const isAnswered = messages.at(-1)?.role === 'tool'
  return streamBatch(
    isAnswered
      ? [{ type: 'finish', finishReason: 'stop' }]
      : [
          { type: 'tool-call', toolCallId: 'call', ...JSON.parse(question) },
          { type: 'finish', finishReason: 'tool-calls' },
        ],
  )
}

async function* streamBatch(events: AnswerEvent[]) {
  yield events
}
