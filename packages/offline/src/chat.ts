import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { AnswerEvent, ChatModel } from '@repo/llm'
import { composeAnswer } from './answer.ts'
import { toQuery } from './question.ts'
import { countTokens } from './tokens.ts'

export type OfflineChatOptions = {
  /** Milliseconds between two words; 0 = no pause. */
  wordIntervalMs?: number
}

export const defaultWordIntervalMs = 15 // about 65 words per second, like a fast language model

/** The only tool that this model calls, once per question. */
const searchTool = 'search_documents'

/** A word with the space before it. Text without spaces, such as Chinese, comes in pieces of 16 characters. */
const wordPattern = /\s*\S{1,16}|\s+$/gu

/** A chat model that streams quotes from the passages word by word, or says that the documents do not say. */
export function createOfflineChat({ wordIntervalMs = defaultWordIntervalMs }: OfflineChatOptions = {}): ChatModel {
  return {
    name: 'offline',
    capabilities: { images: false, tools: true, reasoning: false },
    stream: async ({ messages, passages, question, tools, mustAnswer, signal }) => {
      signal.throwIfAborted()
      const mayCall = !mustAnswer && messages.at(-1)?.role === 'user'
      if (mayCall && tools?.some(({ name }) => name === searchTool)) return callSearch(toQuery(messages))
      const answer = composeAnswer(messages, passages, question)
      const inputTokens = messages.reduce((sum, { content }) => sum + countTokens(content), 0)
      const usage = { inputTokens, outputTokens: countTokens(answer) }
      return toEvents(streamWords(answer, wordIntervalMs, signal), { type: 'finish', finishReason: 'stop', usage })
    },
  }
}

async function* callSearch(query: string): AsyncGenerator<AnswerEvent[]> {
  const toolCallId = `call_${randomUUID()}`
  const input = JSON.stringify({ query })
  yield [
    { type: 'tool-input-start', toolCallId, toolName: searchTool },
    { type: 'tool-input-delta', toolCallId, delta: input },
    { type: 'tool-call', toolCallId, toolName: searchTool, input },
    { type: 'finish', finishReason: 'tool-calls', usage: { inputTokens: 0, outputTokens: countTokens(input) } },
  ]
}

async function* toEvents(words: AsyncIterable<string>, finish: AnswerEvent): AsyncGenerator<AnswerEvent[]> {
  for await (const text of words) yield [{ type: 'text-delta', text }]
  yield [finish]
}

/** Yields the words of a text. Aborting `signal` rejects the pending step with its reason. */
export async function* streamWords(text: string, intervalMs: number, signal: AbortSignal): AsyncGenerator<string> {
  for (const word of text.match(wordPattern) ?? []) {
    // The timer rejects with an error of its own; the signal's reason is thrown below.
    if (intervalMs > 0) await setTimeout(intervalMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
    yield word
  }
}
