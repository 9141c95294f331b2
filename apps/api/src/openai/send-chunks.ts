import type { Source } from '@repo/db'
import { LlmError, measureChunk } from '@repo/llm'
import { z } from 'zod'
import { isTimeUp } from '../chat/answer-end.ts'
import { maxAnswerBytes } from '../chat/answer-limits.ts'
import type { Degraded } from '../chat/search-passages.ts'
import type { Call } from './call.ts'
import { type ChunkStream, toEvents } from './chunk-stream.ts'

const ToolCall = z.looseObject({ function: z.looseObject({ name: z.string().nullish() }).nullish() })
const Choice = z.looseObject({
  index: z.int().optional(),
  delta: z.looseObject({ role: z.unknown().optional(), tool_calls: z.array(ToolCall).nullish().catch(null) }).nullish(),
  finish_reason: z.unknown().optional(),
})
const Chunk = z.looseObject({ choices: z.array(Choice).nullish(), usage: z.unknown().optional() })
type Chunk = z.output<typeof Chunk>

/** Our own fields of a completion. Without retrieval there are none. */
export type RetrievalFields = { citations?: Source[]; degraded?: Degraded }

export type Completion = {
  call: Call
  batches: AsyncIterable<string[]>
  fields: RetrievalFields
  /** Number of answers that the client requested. */
  choices: number
  /** The token limit of one choice. */
  maxTokens: number
}

/**
 * Forwards a model's chunks as they arrive, and adds our fields to the first. At a limit it cancels the model call
 * and sends a last chunk with `length`.
 */
export async function sendChunks({ send }: ChunkStream, completion: Completion): Promise<void> {
  const { call, batches, fields } = completion
  const meter = createMeter(completion)
  let first: Chunk | undefined
  try {
    for await (const batch of batches) {
      const fitting = meter.take(batch)
      const begun = first === undefined ? beginAnswer(readChunk(batch[0] ?? ''), fields) : undefined
      first ??= begun?.chunk
      call.count(begun && !begun.saysSomething ? fitting.length - 1 : fitting.length)
      await send(toEvents(begun && fitting.length > 0 ? [JSON.stringify(begun.chunk), ...fitting.slice(1)] : fitting))
      if (fitting.length < batch.length) break
    }
  } catch (error) {
    if (!isTimeUp(error) || !first) throw error
    meter.end()
  }
  if (first && meter.isReached()) await send(toEvents([JSON.stringify(endAnswer(first, meter.listOpen()))]))
}

// Quotes inside a text are escaped, so no text can be mistaken for this key.
const hasToolCall = /"tool_calls"\s*:\s*\[/
const endsChoice = /"finish_reason"\s*:\s*"/

/** Meters a model's output until it reaches the limit of an answer. Several choices share the size limit. */
export function createMeter({ call, choices, maxTokens }: Completion) {
  const open = new Set(Array.from({ length: choices }, (_, index) => index))
  let tokens = maxTokens * choices
  let bytes = maxAnswerBytes
  let isReached = false

  const fits = (chunk: string) => {
    const size = measureChunk(chunk)
    bytes -= size
    call.bytes += size
    if (size > 0 && hasToolCall.test(chunk)) call.toolCalls += countToolCalls(chunk)
    if (size > 0) tokens -= 1
    isReached = tokens < 0 || bytes < 0
    if (choices > 1 && !isReached && endsChoice.test(chunk)) noteEnds(chunk)
    return !isReached
  }
  const noteEnds = (chunk: string) => {
    for (const { index = 0, finish_reason: reason } of readChunk(chunk).choices ?? []) if (reason) open.delete(index)
  }

  return {
    /** Returns the chunks before the limit. */
    take: (batch: string[]): string[] => {
      const end = batch.findIndex((chunk) => !fits(chunk))
      return end === -1 ? batch : batch.slice(0, end)
    },
    end: () => {
      isReached = true
    },
    isReached: () => isReached,
    /** Returns the choices that the model has not ended. */
    listOpen: () => [...open],
  }
}

/** Returns how many tool calls begin in a chunk: only the first piece of each has a name. */
function countToolCalls(chunk: string): number {
  const calls = readChunk(chunk).choices?.flatMap(({ delta }) => delta?.tool_calls ?? []) ?? []
  return calls.filter((call) => call.function?.name).length
}

/** Returns the first chunk with the role and our fields. Not every server includes the role at the start. */
function beginAnswer(first: Chunk, fields: RetrievalFields) {
  const choices = (first.choices ?? []).map((choice) => {
    const { role, ...rest } = choice.delta ?? {}
    return { ...choice, delta: { role: role ?? 'assistant', ...rest } }
  })
  const saysSomething = choices.some(({ delta: { role: _, ...rest } }) => Object.values(rest).some(Boolean))
  return { chunk: { ...first, choices, ...fields }, saysSomething }
}

/** Returns the chunk that ends choices at a limit, in the format of the first chunk. */
function endAnswer({ citations: _, degraded: __, usage: ___, ...first }: Chunk, indexes: number[]): Chunk {
  return { ...first, choices: indexes.map((index) => ({ index, delta: {}, finish_reason: 'length' })) }
}

/** Parses a chunk. Throws `LlmError` (`model_protocol`). */
function readChunk(json: string): Chunk {
  try {
    return Chunk.parse(JSON.parse(json))
  } catch {
    throw new LlmError('model_protocol', 'the model sent an event that is not a completion chunk')
  }
}
