import type { Source } from '@repo/db'
import { LlmError } from '@repo/llm'
import { z } from 'zod'
import type { Call } from '../chat/call.ts'
import type { ChunkStream } from './chunk-stream.ts'

const Choice = z.looseObject({ delta: z.looseObject({ role: z.unknown().optional() }).nullish() })
const Chunk = z.looseObject({ choices: z.array(Choice).nullish(), usage: z.unknown().optional() })
type Chunk = z.output<typeof Chunk>

/** Sends a model's chunks on as they come, the first one with the citations. Gives the usage, when the last one tells it. */
export async function sendChunks(
  { send }: ChunkStream,
  call: Call,
  batches: AsyncIterable<string[]>,
  citations: Source[] | undefined,
): Promise<{ usage?: unknown }> {
  let last: string | undefined
  for await (const batch of batches) {
    const [first, ...rest] = batch
    const begun = last === undefined && first !== undefined ? beginAnswer(readChunk(first), citations) : undefined
    call.count(begun && !begun.saysSomething ? rest.length : batch.length)
    await send(begun ? [begun.chunk, ...rest] : batch)
    last = batch.at(-1)
  }
  return last === undefined ? {} : readChunk(last)
}

/** Not every server names the role at the start. */
function beginAnswer(first: Chunk, citations: Source[] | undefined) {
  const choices = (first.choices ?? []).map((choice) => {
    const { role, ...rest } = choice.delta ?? {}
    return { ...choice, delta: { role: role ?? 'assistant', ...rest } }
  })
  const saysSomething = choices.some(({ delta: { role: _, ...rest } }) => Object.values(rest).some(Boolean))
  return { chunk: JSON.stringify({ ...first, choices, ...(citations && { citations }) }), saysSomething }
}

/** Throws an `LlmError` (`model_protocol`). */
function readChunk(json: string): Chunk {
  try {
    return Chunk.parse(JSON.parse(json))
  } catch {
    throw new LlmError('model_protocol', 'the model sent an event that is no chunk of a completion')
  }
}
