import { z } from 'zod'
import { maxAnswerBytes, takeBytes } from '../chat/answer-limits.ts'

const texts = ['reasoning', 'reasoning_content', 'content']
const Message = z.record(z.string(), z.unknown())
const Completion = z.looseObject({ choices: z.array(z.looseObject({ message: Message })) })

/** Cuts off texts of a completion beyond the size limit of an answer. Such a choice ends with `length`. */
export function limitCompletion(completion: Record<string, unknown>): Record<string, unknown> {
  const { data } = Completion.safeParse(completion)
  if (!data) return completion
  let left = maxAnswerBytes
  for (const choice of data.choices) {
    for (const name of texts) {
      const text = choice.message[name]
      if (typeof text !== 'string') continue
      const piece = takeBytes(text, left)
      left -= Buffer.byteLength(piece)
      if (piece === text) continue
      choice.message[name] = piece
      choice.finish_reason = 'length'
    }
  }
  return data
}
