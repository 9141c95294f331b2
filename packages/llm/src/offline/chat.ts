import { setTimeout } from 'node:timers/promises'
import type { AnswerEvent, ChatModel } from '../llm.ts'
import { composeAnswer } from './answer.ts'
import { countTokens } from './tokens.ts'

export type OfflineChatOptions = {
  /** The pause between two words; 0 = none. */
  wordIntervalMs?: number
}

/** A word with the space before it; Chinese has no spaces, so that a run comes in pieces. */
const wordPattern = /\s*\S{1,16}|\s+$/gu

/**
 * A chat model without a model: it answers with the sentences of the passages that hold what is asked, or says that the
 * documents do not say. Streams word by word; aborting rejects the pending step with the signal's reason.
 */
export function createOfflineChat({ wordIntervalMs = 15 }: OfflineChatOptions = {}): ChatModel {
  return {
    name: 'offline',
    stream: async ({ messages, passages, signal }) => {
      signal.throwIfAborted()
      const answer = composeAnswer(messages, passages)
      // The messages quote the passages already.
      const inputTokens = messages.reduce((sum, { content }) => sum + countTokens(content), 0)
      return streamWords(answer, { signal, wordIntervalMs, inputTokens })
    },
  }
}

type Pace = { signal: AbortSignal; wordIntervalMs: number; inputTokens: number }

async function* streamWords(
  answer: string,
  { signal, wordIntervalMs, inputTokens }: Pace,
): AsyncGenerator<AnswerEvent[]> {
  for (const text of answer.match(wordPattern) ?? []) {
    // Node rejects with an error of its own; the signal's reason is thrown below.
    if (wordIntervalMs > 0) await setTimeout(wordIntervalMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
    yield [{ type: 'text-delta', text }]
  }
  yield [{ type: 'finish', finishReason: 'stop', usage: { inputTokens, outputTokens: countTokens(answer) } }]
}
