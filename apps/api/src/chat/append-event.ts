import { randomBytes } from 'node:crypto'
import { type AnswerPart, type Json, type StoredPart, toStorableJson, toStorableText } from '@repo/db'
import type { AnswerEvent } from '@repo/llm'
import type { Answer } from './answer.ts'
import { type AnswerLimits, appendWithin, maxAnswerBytes } from './answer-limits.ts'

type StepEvent = Exclude<AnswerEvent, { type: 'finish' }>

/**
 * Returns a function that appends a model's events to its answer. It returns false when the answer has reached a limit.
 * Tools called in a step that must answer are left out.
 */
export function createAppender(
  limits: AnswerLimits,
  answer: Answer,
  { mustAnswer, pastCalls }: { mustAnswer: boolean; pastCalls: string[] },
) {
  const earlier = new Set([...pastCalls, ...listCallIds(answer.parts)])
  /**
   * Some servers number the calls of each request from 0, and `useChat` finds a call in all messages by its id. Mistral
   * accepts ids of 9 letters and digits only.
   */
  const toUnique = (id: string) => (earlier.has(id) ? randomBytes(5).toString('hex').slice(1) : id)
  const ids = new Map<string, string>()
  let inputBytes = 0

  const readId = (given: string) => {
    const id = ids.get(given) ?? toUnique(given)
    ids.set(given, id)
    return id
  }

  return (event: StepEvent): boolean => {
    if (event.type === 'text-delta') return appendWithin(limits, answer, 'text', event.text)
    if (event.type === 'reasoning-delta') return appendWithin(limits, answer, 'reasoning', event.text)
    if (mustAnswer) return true
    const toolCallId = readId(event.toolCallId)
    if (event.type === 'tool-call') {
      answer.add({ type: 'tool-call', toolCallId, toolName: event.toolName, input: parseInput(event.input) })
      return true
    }
    if (event.type === 'tool-input-delta') inputBytes += Buffer.byteLength(event.delta)
    answer.announceInput({ ...event, toolCallId })
    return answer.deltas < limits.maxTokens && answer.bytes + inputBytes <= maxAnswerBytes
  }
}

/** Returns the ids of all tool calls. */
export function listCallIds(parts: readonly (AnswerPart | StoredPart)[]): string[] {
  return parts.flatMap((part) => (part.type === 'tool-call' ? part.toolCallId : []))
}

/** Returns a tool's input, or the text itself if it is not JSON: the tool's schema then rejects it. */
function parseInput(input: string): Json {
  try {
    return toStorableJson(JSON.parse(input))
  } catch {
    return toStorableText(input)
  }
}
