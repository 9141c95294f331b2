import type { Source } from '@repo/db'
import type { AnswerEvent, FinishReason, Usage } from '@repo/llm'
import type { ProblemError } from '../../plugins/errors.ts'
import type { RetrievalFields } from '../send-chunks.ts'
import { createEventLog, createId, type ItemStatus, type OpenItem, openCall, openText, type TextKind } from './items.ts'
import type { ResponseRequest } from './routes.schemas.ts'

type Finish = { finishReason: FinishReason; usage?: Usage | undefined }

const incompleteReasons = new Map<FinishReason, string>([
  ['length', 'max_output_tokens'],
  ['content-filter', 'content_filter'],
])

/**
 * Builds a response from a model's events, and the events of its stream.
 * https://platform.openai.com/docs/api-reference/responses-streaming
 */
export function createResponse(body: ResponseRequest) {
  const log = createEventLog()
  const response = { ...describe(body), output: log.output }
  let citations: Source[] = []
  const output = createOutput(log, (text) => annotate(text, citations))

  /** Begins the response with what was retrieved for it. */
  const start = (fields: RetrievalFields) => {
    citations = fields.citations ?? []
    Object.assign(response, fields)
    log.emit('response.created', { response })
    log.emit('response.in_progress', { response })
  }
  const end = (type: string, fields: object) => {
    Object.assign(response, fields)
    log.emit(type, { response })
    return response
  }

  return {
    start,
    add: output.add,
    takeEvents: log.take,
    /** Ends the response. Returns it. */
    end: ({ finishReason, usage }: Finish) => {
      const reason = incompleteReasons.get(finishReason)
      const status = reason ? 'incomplete' : 'completed'
      output.close(status)
      const details = reason ? { incomplete_details: { reason } } : { completed_at: now() }
      return end(`response.${status}`, { status, ...details, ...(usage && { usage: toUsage(usage) }) })
    },
    fail: ({ status, message }: ProblemError) => {
      if (log.isEmpty()) start({})
      output.close('incomplete')
      const code = status === 429 ? 'rate_limit_exceeded' : status < 500 ? 'invalid_prompt' : 'server_error'
      end('response.failed', { status: 'failed', error: { code, message } })
    },
  }
}

/** Writes a model's events into items. One text is open at a time. Calls are open until they are complete. */
function createOutput(log: ReturnType<typeof createEventLog>, annotate: (text: string) => object[]) {
  const calls = new Map<string, OpenItem>()
  let text: (OpenItem & { kind: TextKind }) | undefined

  const closeText = (status: ItemStatus = 'completed') => {
    text?.close(status)
    text = undefined
  }
  const addText = (kind: TextKind, delta: string) => {
    if (text?.kind !== kind) closeText()
    text ??= { kind, ...openText(log, kind, kind === 'text-delta' ? annotate : () => []) }
    text.add(delta)
  }

  return {
    add: (event: AnswerEvent): void => {
      if (event.type === 'finish') return
      if (event.type === 'text-delta' || event.type === 'reasoning-delta') {
        addText(event.type, event.text)
        return
      }
      closeText()
      const { type, toolCallId: id } = event
      if (type === 'tool-input-start') calls.set(id, openCall(log, id, event.toolName))
      else if (type === 'tool-input-delta') calls.get(id)?.add(event.delta)
      else {
        calls.get(id)?.close('completed')
        calls.delete(id)
      }
    },
    close: (status: ItemStatus): void => {
      closeText(status)
      for (const call of calls.values()) call.close('incomplete') // complete ones are closed
      calls.clear()
    },
  }
}

/** Returns the fields of a new response, which repeat the request. */
function describe({ model, instructions, tools, tool_choice, parallel_tool_calls, ...body }: ResponseRequest) {
  return {
    id: createId('resp'),
    object: 'response' as const,
    created_at: now(),
    status: 'in_progress',
    error: null,
    incomplete_details: null,
    instructions: instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model,
    parallel_tool_calls: parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    store: false,
    temperature: body.temperature ?? null,
    text: { format: body.text?.format ?? { type: 'text' } },
    tool_choice: tool_choice ?? 'auto',
    tools: (tools ?? []).map((tool) => ({ strict: null, parameters: null, ...tool })),
    top_p: body.top_p ?? null,
    truncation: 'disabled',
  }
}

/** Returns one annotation per cited passage, in the order in which they are first cited. */
function annotate(text: string, citations: Source[]): object[] {
  const cited = new Set(Array.from(text.matchAll(/\[(\d+)\]/g), ([, n]) => Number(n)))
  return [...cited].flatMap((n) => {
    const index = citations.findIndex((source) => source.n === n)
    const source = citations[index]
    return source ? [{ type: 'file_citation', file_id: source.documentId, filename: source.title, index }] : []
  })
}

function toUsage({ inputTokens, outputTokens, cachedInputTokens = 0, reasoningTokens = 0 }: Usage) {
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: cachedInputTokens, cache_write_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: inputTokens + outputTokens,
  }
}

const now = () => Math.floor(Date.now() / 1000)
