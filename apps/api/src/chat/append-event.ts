import { type Json, toStorableJson, toStorableText } from '@repo/db'
import type { AnswerEvent } from '@repo/llm'
import type { Answer } from './answer.ts'
import { type AnswerLimits, appendWithin, maxAnswerBytes } from './answer-limits.ts'

type StepEvent = Exclude<AnswerEvent, { type: 'finish' }>

/**
 * Returns a function that appends a model's events to its answer. It returns false when the answer has reached a limit.
 * Tools called in a step that must answer are left out.
 */
export function createAppender(limits: AnswerLimits, answer: Answer, { mustAnswer }: { mustAnswer: boolean }) {
  const earlier = new Set(answer.parts.flatMap((part) => (part.type === 'tool-call' ? part.toolCallId : [])))
  /** Some servers number the calls of each step from 0. */
  const toUnique = (id: string) => (earlier.has(id) ? `${id}-${answer.parts.length}` : id)
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

/** Returns a tool's input, or the text itself if it is not JSON: the tool's schema then rejects it. */
function parseInput(input: string): Json {
  try {
    return toStorableJson(JSON.parse(input))
  } catch {
    return toStorableText(input)
  }
}
