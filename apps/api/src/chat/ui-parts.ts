import type { AnswerPart, Json, Source } from '@repo/db'

// Answers as the AI SDK's `UIMessage` has them: https://ai-sdk.dev/docs/reference/ai-sdk-core/ui-message

type ToolPart = {
  type: `tool-${string}`
  toolCallId: string
  state: string
  input: Json
  output?: Json
  errorText?: string
  approval?: { id: string; approved?: boolean; reason?: string }
}

export type UiPart =
  | { type: 'text' | 'reasoning'; id?: string; text: string; state: 'done' }
  | { type: 'step-start' }
  | ReturnType<typeof toSourceEvent>
  | ToolPart

/** Returns the event, and at the same time the part of a message, for a source. */
export function toSourceEvent({ n, title, ...place }: Source) {
  return {
    type: 'source-document' as const,
    sourceId: String(n),
    mediaType: 'text/plain',
    title,
    providerMetadata: { sluice: place },
  }
}

/** Returns the parts of a message as `useChat` shows them after the stream of the same answer. */
export function toUiParts(parts: readonly AnswerPart[], sources: readonly Source[]): UiPart[] {
  const calls = new Map<string, ToolPart>()
  const left = [...sources]
  return parts.flatMap((part, index): UiPart[] => {
    if (part.type === 'reasoning') return [{ ...part, id: String(index), state: 'done' }] // the id of its events
    if (part.type === 'text') return [{ ...part, state: 'done' }]
    if (part.type === 'step-start') return [part]
    if (part.type === 'sources') return left.splice(0, part.count).map(toSourceEvent)
    if (part.type !== 'tool-call') return settle(calls, part)
    const { toolCallId, toolName, input } = part
    const call: ToolPart = { type: `tool-${toolName}`, toolCallId, state: 'input-available', input }
    calls.set(toolCallId, call)
    return [call]
  })
}

/** Records in its call what became of it. Adds no part. */
function settle(
  calls: Map<string, ToolPart>,
  part: Exclude<AnswerPart, { type: 'text' | 'reasoning' | 'step-start' | 'sources' | 'tool-call' }>,
): [] {
  if (part.type === 'approval-response') {
    const { approvalId, approved, reason } = part
    const call = calls.values().find(({ approval }) => approval?.id === approvalId)
    if (call)
      Object.assign(call, {
        state: 'approval-responded',
        approval: { id: approvalId, approved, ...(reason && { reason }) },
      })
    return []
  }
  const call = calls.get(part.toolCallId)
  if (!call) return []
  if (part.type === 'approval-request')
    Object.assign(call, { state: 'approval-requested', approval: { id: part.approvalId } })
  if (part.type === 'client-call') call.state = 'input-available'
  if (part.type === 'tool-denied') call.state = 'output-denied'
  if (part.type === 'tool-result') Object.assign(call, { state: 'output-available', output: part.output })
  if (part.type === 'tool-error') Object.assign(call, { state: 'output-error', errorText: part.errorText })
  return []
}
