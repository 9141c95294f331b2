import { PassThrough } from 'node:stream'
import {
  type AnswerEvent,
  type Capabilities,
  type ChatRequest,
  type FinishReason,
  type Llm,
  toLlm,
  type Usage,
} from '@repo/llm'
import { vi } from 'vitest'
import { createTestModels } from './test-models.ts'

const hangMs = 120_000 // the app calls the model within a second

type ScriptedAnswer = {
  request: ChatRequest
  say: (text: string) => void
  think: (text: string) => void
  call: (toolCallId: string, toolName: string, input: string) => void
  write: (event: AnswerEvent) => void
  end: (finishReason?: FinishReason, usage?: Usage) => void
  fail: (error: Error) => void
}

/**
 * Creates a chat model whose answers are scripted by the test, delta by delta. The embedder is that of `createTestModels`.
 */
export function createScriptedModel(capabilities: Partial<Capabilities> = {}) {
  const answers: ScriptedAnswer[] = []
  const stream = async (request: ChatRequest) => {
    const events = new PassThrough({ objectMode: true, highWaterMark: 100_000 })
    const write = (event: AnswerEvent) => void events.write([event])
    request.signal.throwIfAborted()
    request.signal.addEventListener('abort', () => events.destroy(request.signal.reason))
    answers.push({
      request,
      say: (text) => write({ type: 'text-delta', text }),
      think: (text) => write({ type: 'reasoning-delta', text }),
      call: (toolCallId, toolName, input) => write({ type: 'tool-call', toolCallId, toolName, input }),
      write,
      end: (finishReason = 'stop', usage) => events.end([{ type: 'finish', finishReason, ...(usage && { usage }) }]),
      fail: (error) => void events.destroy(error),
    })
    return events
  }
  const models = createTestModels()
  const described = { ...models.chat, capabilities: { ...models.chat.capabilities, ...capabilities } }
  const llm: Llm = toLlm({ ...models, chat: { ...described, name: 'spoken', stream } })
  return {
    llm,
    answers,
    /** Waits for the next model call and returns the answer to script. */
    takeAnswer: (): Promise<ScriptedAnswer> =>
      vi.waitFor(() => answers.shift() ?? Promise.reject(new Error('the app has not called the model')), hangMs),
  }
}
