import { randomUUID } from 'node:crypto'
import { isObject, parseJson } from './json.ts'
import type { AnswerEvent } from './llm.ts'

type Call = { id: string; givenId: string; index: unknown; name: string; input: string }

/**
 * Assembles the tool calls of one answer. Servers differ: Ollama gives all calls index 0, Gemini's calls have no index
 * and an empty id, some vLLM versions repeat the name or send another id with every delta, and Mistral sends whole calls.
 */
export function createToolCallReader() {
  const calls: Call[] = []

  const find = ({ id, index, name }: Delta): Call | undefined => {
    const byId = id ? calls.find(({ givenId }) => givenId === id) : undefined
    if (byId) return byId
    const last = index === undefined ? calls.at(-1) : calls.findLast((call) => call.index === index)
    if (!last || !name || last.name === '') return last
    return name !== last.name || isComplete(last) ? undefined : last // a call may repeat its name, but not after its end
  }

  const add = (delta: Delta, parts: AnswerEvent[]) => {
    let call = find(delta)
    if (!call) {
      const id = delta.id && !calls.some((other) => other.id === delta.id) ? delta.id : `call_${randomUUID()}`
      call = { id, givenId: delta.id, index: delta.index, name: '', input: '' }
      calls.push(call)
    }
    if (call.name === '' && delta.name) {
      call.name = delta.name
      parts.push({ type: 'tool-input-start', toolCallId: call.id, toolName: call.name })
    }
    call.input += delta.input
    if (delta.input) parts.push({ type: 'tool-input-delta', toolCallId: call.id, delta: delta.input })
  }

  return {
    /** Reads the `tool_calls` of a delta or a whole message, and what came before them in OpenAI's API. */
    read: ({ tool_calls: toolCalls, function_call: legacy }: Record<string, unknown>, parts: AnswerEvent[]): void => {
      const deltas: unknown[] = Array.isArray(toolCalls) ? toolCalls : []
      for (const delta of deltas) if (isObject(delta)) add(readDelta(delta), parts)
      if (isObject(legacy)) add(readDelta({ index: 0, function: legacy }), parts)
    },
    /** Returns the complete calls. When the model was cut off, the last one may be incomplete and is left out. */
    end: (isCutOff: boolean): AnswerEvent[] =>
      calls
        .filter((call) => call.name !== '' && !(isCutOff && call === calls.at(-1) && !isComplete(call)))
        .map(({ id, name, input }) => ({ type: 'tool-call', toolCallId: id, toolName: name, input: input || '{}' })),
  }
}

type Delta = { id: string; index: unknown; name: string; input: string }

function readDelta({ id, index, function: called }: Record<string, unknown>): Delta {
  const { name, arguments: input } = isObject(called) ? called : {}
  return {
    id: typeof id === 'string' ? id : '',
    index: index ?? undefined,
    name: typeof name === 'string' ? name : '',
    input: isObject(input) ? JSON.stringify(input) : typeof input === 'string' ? input : '',
  }
}

function isComplete({ input }: Call): boolean {
  return input.trimEnd().endsWith('}') && isObject(parseJson(input))
}
