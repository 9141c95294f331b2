import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
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

  it('is there in a cold process within its budget of 2 s and 250 MB', async ({ annotate }) => {
    const file = new URL('embedder.ts', import.meta.url).href
    const code = `const before = performance.now()
      const { embedText } = await import(${JSON.stringify(file)})
      embedText('warm')
      const coldMs = performance.now() - before
      const texts = Array.from({ length: 500 }, (_, n) => \`passage \${n}: \${'the tide turns twice a day, '.repeat(40)}\`)
      const startedAt = performance.now()
      for (const text of texts) embedText(text)
      const chunkMs = (performance.now() - startedAt) / texts.length
      console.log(JSON.stringify({ coldMs, chunkMs, megabytes: process.memoryUsage().rss / 1e6 }))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code])
    const { coldMs, chunkMs, megabytes } = JSON.parse(stdout)
    expect(megabytes).toBeLessThan(250)
    await annotate(
      `offline embedder: cold start ${coldMs.toFixed(0)} ms, ${chunkMs.toFixed(2)} ms a chunk, ${megabytes.toFixed(0)} MB the whole process`,
    )
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
