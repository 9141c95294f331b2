import type { PastMessage, StoredFile } from '@repo/db'
import { describe, expect, it } from 'vitest'
import { fitHistory } from './history.ts'
import { chooseImages } from './images.ts'
import { buildPrompt } from './prompt.ts'

const file = (id: string, length: number): StoredFile => ({ type: 'file', id, mediaType: 'image/png', length })

/** Returns answered questions, newest first, each with images of these lengths. Images are numbered from 0. */
function store(...questions: number[][]): PastMessage[] {
  let number = 0
  const messages = questions.flatMap((lengths): PastMessage[] => {
    const parts = lengths.map((length) => file(`${number++}`, length))
    const place = { start: 0, size: 1 }
    return [
      { role: 'user', content: 'a question', parts: parts.length > 0 ? parts : null, ...place },
      { role: 'assistant', content: 'an answer', ...place },
    ]
  })
  return messages.reverse()
}

const choose = (...questions: number[][]) =>
  [...chooseImages(store(...questions))].map(Number).toSorted((a, b) => a - b)
const readImage = async ({ id }: StoredFile) => `data:${id}`

describe('the images of earlier questions', () => {
  it('are all sent again as long as they fit', () => {
    expect(choose([], [1000, 1000], [5_000_000])).toEqual([0, 1, 2])
    expect(choose(...Array.from({ length: 20 }, () => [1000]))).toHaveLength(20)
    expect(choose([])).toEqual([])
  })

  it('are dropped for half of the budget at once, so that most turns begin like the previous one', () => {
    const all = Array.from({ length: 100 }, () => [1000])
    const chosen = all.map((_, n) => choose(...all.slice(0, n + 1)))
    const moved = chosen.filter(([first], n) => n > 0 && first !== chosen[n - 1]?.[0])
    expect(moved).toHaveLength(8)
    expect(Math.min(...chosen.slice(20).map(({ length }) => length))).toBe(11)
    expect(Math.max(...chosen.map(({ length }) => length))).toBe(20)
  })

  it('always include those of the newest question that has any', () => {
    expect(choose([5_000_000], [4_000_000, 4_000_000])).toEqual([1, 2])
    expect(choose([5_000_000], [4_000_000, 4_000_000], [])).toEqual([1, 2])
    expect(choose([5_000_000], [5_000_000])).toEqual([1])
  })

  it('are replaced by a note if they are dropped, or if the model takes none', async () => {
    const history = store([5_000_000], [5_000_000])
    const [first, , second] = fitHistory(history, 12_000, readImage)
    expect(first).toEqual({ role: 'user', content: 'a question\n[image omitted]' })
    expect(second).toEqual({ role: 'user', content: 'a question', images: [expect.any(Function)] })
    const images = second?.role === 'user' ? second.images : []
    expect(await images?.[0]?.()).toBe('data:1')
    const without = fitHistory(history, 12_000)
    expect(without.some((message) => 'images' in message)).toBe(false)
    expect(without[2]).toEqual({ role: 'user', content: 'a question\n[image omitted]' })
  })
})

it('the images of the question are in the last message, whatever their size', async () => {
  const files = [file('a', 8_000_000), file('b', 8_000_000)]
  const parts = { passages: [], history: store([1]), question: 'What?', files, readImage }
  const last = buildPrompt(parts).at(-1)
  const images = last?.role === 'user' ? last.images : []
  expect(last?.content).toBe('What?')
  expect(await Promise.all(images?.map((read) => read()) ?? [])).toEqual(['data:a', 'data:b'])
})
