import type { AnswerEvent } from '../llm.ts'

export type Limits = {
  /** The answer ends before the first of these. */
  stopSequences: string[]
  /** In UTF-16 units. */
  maxLength: number
}

/** An answer up to its first stop sequence, or as long as it may be, and one `finish` that says which. */
export async function* limitAnswer(
  events: AsyncIterable<AnswerEvent>,
  { stopSequences, maxLength }: Limits,
): AsyncGenerator<AnswerEvent, undefined> {
  const heldBack = Math.max(0, ...stopSequences.map(({ length }) => length - 1)) // it may begin a stop sequence
  let text = ''
  let sent = 0
  const takeUntil = (end: number): AnswerEvent[] => {
    const piece = text.slice(sent, end)
    sent += piece.length
    return piece === '' ? [] : [{ type: 'text-delta', text: piece }]
  }

  for await (const event of events) {
    if (event.type !== 'text-delta') continue
    text += event.text
    const stop = findFirst(text, stopSequences, sent)
    if (stop !== undefined && stop <= maxLength) {
      yield* takeUntil(stop)
      yield { type: 'finish', finishReason: 'stop' }
      return
    }
    if (text.length > maxLength) {
      yield* takeUntil(keepWhole(text, maxLength))
      yield { type: 'finish', finishReason: 'length' }
      return
    }
    yield* takeUntil(Math.max(sent, keepWhole(text, text.length - heldBack)))
  }
  yield* takeUntil(text.length)
  yield { type: 'finish', finishReason: 'stop' }
}

/** Where in the text the first of these begins, from `start` on. */
function findFirst(text: string, sequences: string[], start: number): number | undefined {
  const places = sequences.map((sequence) => text.indexOf(sequence, start)).filter((place) => place !== -1)
  return places.length > 0 ? Math.min(...places) : undefined
}

/** A cut that divides no character: Python's clients do not put two halves together again. */
function keepWhole(text: string, end: number): number {
  const code = text.charCodeAt(end - 1)
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end
}
