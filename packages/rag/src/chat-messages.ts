import type { AnswerPart } from '@repo/db'
import type { ChatMessage, ToolCall } from '@repo/llm'

/**
 * Returns an answer as the messages that a model made and received: for each step its text and calls, then their results.
 * The same parts always give the same bytes, so a server can reuse what it has computed for them.
 */
export function toChatMessages(parts: readonly AnswerPart[]): ChatMessage[] {
  const results = new Map<string, string>()
  for (const part of parts) {
    const result = toResult(part)
    if (result) results.set(result.toolCallId, result.content)
  }
  return splitSteps(parts).flatMap(({ content, toolCalls }): ChatMessage[] => {
    if (toolCalls.length === 0) return content === '' ? [] : [{ role: 'assistant', content }]
    const answers = toolCalls.map(({ toolCallId }): ChatMessage => {
      return { role: 'tool', toolCallId, content: results.get(toolCallId) ?? notCompleted }
    })
    return [{ role: 'assistant', content, toolCalls }, ...answers]
  })
}

const notCompleted = 'Error: The call was not completed.' // servers reject a call without a result

function splitSteps(parts: readonly AnswerPart[]) {
  let step: { content: string; toolCalls: ToolCall[] } = { content: '', toolCalls: [] }
  const steps = [step]
  for (const part of parts) {
    if (part.type === 'step-start') {
      step = { content: '', toolCalls: [] }
      steps.push(step)
    }
    if (part.type === 'text') step.content += part.text
    if (part.type !== 'tool-call') continue
    const { toolCallId, toolName, input } = part
    step.toolCalls.push({ toolCallId, toolName, input: JSON.stringify(input) })
  }
  return steps
}

function toResult(part: AnswerPart): { toolCallId: string; content: string } | undefined {
  if (part.type === 'tool-error') return { toolCallId: part.toolCallId, content: `Error: ${part.errorText}` }
  if (part.type === 'tool-denied') return { toolCallId: part.toolCallId, content: 'Error: The user denied this call.' }
  if (part.type !== 'tool-result') return undefined
  const { toolCallId, output } = part
  return { toolCallId, content: typeof output === 'string' ? output : JSON.stringify(output) }
}
