import type { AnswerEvent, ChatMessage, FinishReason } from '@repo/llm'

// The texts of model calls and tools, for operators who have opted in. Messages have the JSON format of OpenTelemetry's
// GenAI conventions. Images are only mentioned. Headers, URLs and keys are not part of messages.

/** UTF-16 units per attribute. Up to 2,048 spans wait in memory, and collectors reject attributes above about 64 kB. */
const maxLength = 16_000
const overhead = 50 // UTF-16 units of JSON around the text of a part
const maxNameLength = 200 // UTF-16 units; names and ids of tools are shorter

export type MessagePart = { type: string; content?: string; arguments?: string; response?: string } & Named
type Named = { id?: string; name?: string }

/**
 * Returns `gen_ai.input.messages` for a prompt. If it is too long, texts are cut and the oldest messages are left out.
 * `listParts` returns the parts of a message.
 */
export function writeMessages<Message extends { role: string }>(
  messages: readonly Message[],
  listParts: (message: Message) => MessagePart[],
): string {
  const room = createRoom()
  const kept: { role: string; parts: MessagePart[] }[] = []
  for (const message of messages.toReversed()) {
    if (room.isFull()) break
    kept.push({ role: toName(message.role), parts: listParts(message).flatMap(room.fit) })
  }
  return JSON.stringify(kept.reverse())
}

/** Returns the parts of a message of a chat. */
export function listChatParts(message: ChatMessage): MessagePart[] {
  if (message.role === 'tool')
    return [{ type: 'tool_call_response', id: toName(message.toolCallId), response: message.content }]
  const images = message.role === 'user' ? (message.images ?? []) : []
  const calls = message.role === 'assistant' ? (message.toolCalls ?? []) : []
  return [
    ...images.map(() => ({ type: 'image' })),
    ...(message.content === '' ? [] : [{ type: 'text', content: message.content }]),
    ...calls.map(({ toolCallId, toolName, input }) => toCallPart(toolCallId, toolName, input)),
  ]
}

/** Returns the part for a call that a model asked for. */
export function toCallPart(id: unknown, name: unknown, input: unknown): MessagePart {
  return { type: 'tool_call', id: toName(id), name: toName(name), arguments: String(input) }
}

/** Returns the input or the output of a tool as JSON, cut to the limit. */
export function writeValue(value: unknown): string {
  return (JSON.stringify(value) ?? '').slice(0, maxLength)
}

/** Returns a text, cut to the limit. */
export function cutText(text: string): string {
  return text.slice(0, maxLength)
}

/** Collects the output of one call. `write` returns `gen_ai.output.messages` for what has arrived so far. */
export function collectOutput() {
  const room = createRoom()
  const parts: MessagePart[] = []
  let reason: FinishReason = 'other'
  const addText = (type: string, text: string) => {
    const last = parts.at(-1)
    if (last?.type === type) last.content += room.cut(text)
    else parts.push(...room.fit({ type, content: text }))
  }
  return {
    add: (event: AnswerEvent) => {
      if (event.type === 'text-delta') addText('text', event.text)
      if (event.type === 'reasoning-delta') addText('reasoning', event.text)
      if (event.type === 'tool-call') parts.push(...room.fit(toCallPart(event.toolCallId, event.toolName, event.input)))
      if (event.type === 'finish') reason = event.finishReason
    },
    write: () => JSON.stringify([{ role: 'assistant', parts, finish_reason: toConventional(reason) }]),
  }
}

/** Returns a reason as the conventions write it. */
export function toConventional(reason: FinishReason): string {
  return reason.replace('-', '_')
}

/** Returns a name or an id in a length that those of tools have. */
export function toName(value: unknown): string {
  return String(value ?? '').slice(0, maxNameLength)
}

/** Limits the texts of one attribute. */
function createRoom() {
  let left = maxLength
  const cut = (text: string) => {
    const kept = text.slice(0, Math.max(0, left))
    left -= kept.length
    return kept
  }
  return {
    cut,
    /** Returns the part with its texts cut, or nothing if there is no room. */
    fit: (part: MessagePart): MessagePart[] => {
      if (left <= 0) return []
      left -= overhead
      const { content, arguments: input, response } = part
      return [
        {
          ...part,
          ...(content !== undefined && { content: cut(content) }),
          ...(input !== undefined && { arguments: cut(input) }),
          ...(response !== undefined && { response: cut(response) }),
        },
      ]
    },
    isFull: () => left <= 0,
  }
}
