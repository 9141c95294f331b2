import type { Source } from '@repo/db'
import { LlmError, measureChunk } from '@repo/llm'
import { z } from 'zod'
import { isTimeUp } from '../chat/answer-end.ts'
import { maxAnswerBytes } from '../chat/answer-limits.ts'
import type { Degraded } from '../chat/search-passages.ts'
import type { Call } from './call.ts'
import { type ChunkStream, toEvents } from './chunk-stream.ts'

const Choice = z.looseObject({
  index: z.int().optional(),
  delta: z.looseObject({ role: z.unknown().optional() }).nullish(),
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
 * and sends a last chunk with `length`. Returns the usage, when the last chunk contains it.
 */
export async function sendChunks({ send }: ChunkStream, completion: Completion): Promise<{ usage?: unknown }> {
  const { call, batches, fields } = completion
  const meter = createMeter(completion)
  let first: Chunk | undefined
  let last: string | undefined
  try {
    for await (const batch of batches) {
      const fitting = meter.take(batch)
      const begun = first === undefined ? beginAnswer(readChunk(batch[0] ?? ''), fields) : undefined
      first ??= begun?.chunk
      call.count(begun && !begun.saysSomething ? fitting.length - 1 : fitting.length)
      await send(toEvents(begun && fitting.length > 0 ? [JSON.stringify(begun.chunk), ...fitting.slice(1)] : fitting))
      last = fitting.at(-1) ?? last
      if (fitting.length < batch.length) break
    }
  } catch (error) {
    if (!isTimeUp(error) || !first) throw error
    meter.end()
  }
  if (first && meter.isReached()) await send(toEvents([JSON.stringify(endAnswer(first, meter.listOpen()))]))
  return last === undefined ? {} : readChunk(last)
}

const endsChoice = /"finish_reason"\s*:\s*"/

/** Meters a model's output until it reaches the limit of an answer. Several choices share the size limit. */
export function createMeter({ choices, maxTokens }: Completion) {
  const open = new Set(Array.from({ length: choices }, (_, index) => index))
  let tokens = maxTokens * choices
  let bytes = maxAnswerBytes
  let isReached = false

  const fits = (chunk: string) => {
    const size = measureChunk(chunk)
    bytes -= size
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
