import type { UsageRecorder } from '@repo/db'
import { type ChatMessage, type ChatModel, estimateTokens, toTokens, type Usage } from '@repo/llm'
import type { Answer } from './answer.ts'

/**
 * Returns the function that counts a call of a chat model when it has ended, however it ended. Its tokens are estimated if
 * the model server has reported none, which is so for each call that was cut off.
 */
export function startCounting(
  usage: Pick<UsageRecorder, 'count'>,
  answer: Answer,
  { name: model }: ChatModel,
  { messages }: { messages: ChatMessage[] },
): (reported: Usage | undefined) => void {
  const [bytes, length] = [answer.bytes, answer.parts.length]
  return (reported) => {
    const toolCalls = answer.parts.slice(length).filter(({ type }) => type === 'tool-call').length
    const used = reported ?? estimateUsage(messages, answer.bytes - bytes)
    usage.count(answer.owner, answer.keyId, { kind: 'chat', model, usage: used, isEstimated: !reported, toolCalls })
  }
}

/** Estimates the usage of a call from its texts. Images are not counted. */
export function estimateUsage(messages: { content: string }[], outputBytes: number): Usage {
  return { inputTokens: estimateTokens(messages.map(({ content }) => content)), outputTokens: toTokens(outputBytes) }
}
