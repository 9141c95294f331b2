import { describe, expect, it } from 'vitest'
import type { AnswerEvent } from '../llm.ts'
import { type Limits, limitAnswer } from './limit-answer.ts'

/** What is left of an answer that comes in these pieces. */
async function limit(pieces: string[], limits: Partial<Limits>) {
  let read = 0
  async function* answer(): AsyncGenerator<AnswerEvent, undefined> {
    for (const text of pieces) {
      read += 1
      yield { type: 'text-delta', text }
    }
    yield { type: 'finish', finishReason: 'stop' }
  }
  const deltas: string[] = []
  const finishes: string[] = []
  const options = { stopSequences: [], maxLength: Number.POSITIVE_INFINITY, ...limits }
  for await (const event of limitAnswer(answer(), options)) {
    if (event.type === 'finish') finishes.push(event.finishReason)
    else deltas.push(event.text)
  }
  return { deltas, text: deltas.join(''), finishes, read }
}

/** Every way to cut a text in three. */
const cuts = (text: string) =>
  Array.from(text).flatMap((_, one) =>
    Array.from(text.slice(one), (_, two) => [text.slice(0, one), text.slice(one, one + two), text.slice(one + two)]),
  )

describe('limitAnswer', () => {
  it('passes an answer that keeps within its limits, delta by delta', async () => {
    const { deltas, finishes } = await limit(['a', 'b', 'c'], { maxLength: 3 })
    expect(deltas).toEqual(['a', 'b', 'c'])
    expect(finishes).toEqual(['stop'])
  })

  it('ends before the first stop sequence, however it is cut, and reads no further', async () => {
    for (const pieces of cuts('one two END three')) {
      const { text, finishes } = await limit(pieces, { stopSequences: ['three', 'END'] })
      expect([text, finishes], JSON.stringify(pieces)).toEqual(['one two ', ['stop']])
    }
    expect((await limit(['a', 'END', 'b', 'c'], { stopSequences: ['END'] })).read).toBe(2)
  })

  it('holds back what may begin a stop sequence, and no more', async () => {
    const { deltas } = await limit(['abcdE', 'N', 'O!'], { stopSequences: ['END'] })
    expect(deltas).toEqual(['abc', 'd', 'EN', 'O!'])
  })

  it('ends where it is as long as it may be, with the reason', async () => {
    for (const pieces of cuts('0123456789')) {
      const { text, finishes } = await limit(pieces, { maxLength: 4 })
      expect([text, finishes]).toEqual(['0123', ['length']])
    }
  })

  it('goes by whichever comes first', async () => {
    expect(await limit(['0123456789'], { maxLength: 4, stopSequences: ['3'] })).toMatchObject({
      text: '012',
      finishes: ['stop'],
    })
    expect(await limit(['0123456789'], { maxLength: 4, stopSequences: ['6'] })).toMatchObject({
      text: '0123',
      finishes: ['length'],
    })
  })

  it('divides no character', async () => {
    for (const maxLength of [1, 2, 3, 4]) {
      const { deltas } = await limit(['a🙂', '🙂b'], { maxLength, stopSequences: ['xy'] })
      expect(deltas.every((delta) => delta.isWellFormed())).toBe(true)
    }
    expect((await limit(['a🙂'], { maxLength: 2 })).text).toBe('a')
  })

  it('ends an answer without a word too', async () => {
    expect(await limit([], {})).toMatchObject({ deltas: [], finishes: ['stop'] })
  })
})
