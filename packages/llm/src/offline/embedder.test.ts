import { describe, expect, it } from 'vitest'
import { createOfflineEmbedder, embedText } from './embedder.ts'

const compare = (one: string, other: string): number => {
  const vector = embedText(other)
  return embedText(one).reduce((sum, value, axis) => sum + value * (vector[axis] ?? 0), 0)
}

describe('createOfflineEmbedder', () => {
  it('gives one vector a text, in order, 384 wide', async () => {
    const embedder = createOfflineEmbedder()
    const vectors = await embedder.embed(['one', 'two'])
    expect(vectors).toEqual([embedText('one'), embedText('two')])
    expect(vectors.every((vector) => vector.length === 384)).toBe(true)
    expect(embedder.name).toBe('offline-384')
  })

  it('gives a vector of length 1 for every text, even an empty or a broken one', () => {
    for (const text of ['', ' \n', '!?', '\0', '\ud800', 'the', '退', 'x'.repeat(100_000), '🙂'.repeat(500)]) {
      expect(Math.hypot(...embedText(text)), JSON.stringify(text.slice(0, 9))).toBeCloseTo(1, 9)
    }
  })

  it('puts forms and compounds of a word near each other, in any script', () => {
    const pairs = [
      ['cancel my subscription', 'Subscriptions can be cancelled', 'The library opens at nine'],
      ['Kündigung', 'Die Kündigungsfrist beträgt drei Monate', 'Der Wassertank ist leer'],
      ['退款时间', '退款将在三个工作日内到账', '生鲜食品不支持'],
      ['RÉSUMÉ', 'a resume', 'a window'],
    ] as const
    for (const [question, near, far] of pairs)
      expect(compare(question, near)).toBeGreaterThan(compare(question, far) + 0.1)
  })

  it('hands the event loop back while it embeds many texts', async () => {
    let turns = 0
    const count = (): void => {
      turns += 1
      timer = setImmediate(count)
    }
    let timer = setImmediate(count)
    await createOfflineEmbedder().embed(
      Array.from({ length: 400 }, (_, index) => `number ${index} of many words `.repeat(40)),
    )
    clearImmediate(timer)
    expect(turns).toBeGreaterThan(1)
  })

  it('stops with the reason of an abort', async () => {
    const reason = new Error('gone')
    await expect(createOfflineEmbedder().embed(['text'], AbortSignal.abort(reason))).rejects.toBe(reason)
  })
})
