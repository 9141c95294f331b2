import { describe, expect, it } from 'vitest'
import { createOfflineEmbedder, embedText } from './embedder.ts'
import { createOfflineEmbeddings } from './embeddings.ts'

const { signal } = new AbortController()
const embeddings = createOfflineEmbeddings(createOfflineEmbedder())

describe('createOfflineEmbeddings', () => {
  it('gives the list of OpenAI’s API, one vector a text, with about a token for four characters', async () => {
    expect(await embeddings.create({ input: ['one', 'a longer text'], encoding_format: 'base64' }, signal)).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: embedText('one') },
        { object: 'embedding', index: 1, embedding: embedText('a longer text') },
      ],
      model: 'offline-384',
      usage: { prompt_tokens: 5, total_tokens: 5 },
    })
  })

  it('takes one text as a list of one', async () => {
    const { data } = await embeddings.create({ input: 'one' }, signal)
    expect(data).toEqual([{ object: 'embedding', index: 0, embedding: embedText('one') }])
  })

  it('takes its own width, and refuses another', async () => {
    expect((await embeddings.create({ input: 'one', dimensions: 384 }, signal)).data).toHaveLength(1)
    await expect(embeddings.create({ input: 'one', dimensions: 256 }, signal)).rejects.toMatchObject({
      code: 'unsupported_parameter',
      param: 'dimensions',
      message: expect.stringContaining('384'),
    })
  })
})
