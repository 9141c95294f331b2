import { describe, expect, it, vi } from 'vitest'
import type { Embedder, OnUsage, Reranker } from './llm.ts'
import { meterEmbedder, meterReranker, type OnCall } from './meter.ts'

const usage = (inputTokens: number) => ({ inputTokens, outputTokens: 0 })

/** An embedder whose server reports these counts, one per call. */
function createEmbedder(...reported: number[]): Embedder {
  const report = (onUsage?: OnUsage) => {
    for (const count of reported) onUsage?.(usage(count))
  }
  return {
    name: 'm@384',
    model: 'm',
    embed: async (texts, _, onUsage) => {
      report(onUsage)
      return texts.map(() => [1])
    },
    embedQuery: async (_, __, onUsage) => {
      report(onUsage)
      return '[1]'
    },
  }
}

describe('a metered embedder', () => {
  it.each([
    ['each reported call', [3, 4], [3, 4], false],
    ['an estimate of what is not reported', [], [2], true],
  ])('counts %s', async (_, reported, expected, isEstimated) => {
    const onCall = vi.fn<OnCall>()
    const embedder = meterEmbedder(createEmbedder(...reported), onCall)
    expect(await embedder.embed(['four', 'more'])).toEqual([[1], [1]])
    expect(await embedder.embedQuery('four more')).toBe('[1]')
    const queried = isEstimated ? [3] : expected // with the blank
    expect(onCall.mock.calls.map(([call]) => call)).toEqual(
      [...expected, ...queried].map((count) => ({ model: 'm', usage: usage(count), isEstimated })),
    )
  })

  it('counts nothing when the call fails', async () => {
    const onCall = vi.fn<OnCall>()
    const failing = { ...createEmbedder(), embed: () => Promise.reject(new Error('no')) }
    await expect(meterEmbedder(failing, onCall).embed(['four'])).rejects.toThrow('no')
    expect(onCall).not.toHaveBeenCalled()
  })
})

it('a metered reranker counts the question with each text', async () => {
  const onCall = vi.fn<OnCall>()
  const reranker: Reranker = { name: 'r', rerank: async () => [{ index: 0, score: 1 }] }
  await meterReranker(reranker, onCall).rerank('four', ['four', 'more'], 1)
  expect(onCall).toHaveBeenCalledExactlyOnceWith({ model: 'r', usage: usage(4), isEstimated: true })
})
