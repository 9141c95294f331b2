import { readManageConfig } from '@repo/config'
import { connect, createEmbedders, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { type Embedder, LlmError } from '@repo/llm'
import { createModels } from '@repo/models'
import { ingestDocument } from '@repo/rag'
import { startMockModel } from '@repo/testing/mock-model'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { type ReindexOptions, reindexDocuments, renewTerms } from './reindex.ts'

const test = await createTestDatabase()
const mock = await startMockModel()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 2 })
const store = createStore(db)
const embedders = createEmbedders(db)
const ids: string[] = []

afterAll(async () => {
  await Promise.all([mock.close(), close()])
  await test.drop()
})

function createEmbedder(EMBEDDING_MODEL = ''): Embedder {
  const env = { DATABASE_URL: test.databaseUrl, OPENAI_BASE_URL: mock.url, EMBEDDING_MODEL }
  return createModels(readManageConfig(env)).embedder
}

async function reindex(embedder: ReindexOptions['embedder'], keepOthers = false) {
  const lines: string[] = []
  const failed = await reindexDocuments({ db, embedder, keepOthers, report: (line) => lines.push(line) })
  return { failed, lines }
}

const count = async () => (await embedders.countDocuments()).map(({ model, documents }) => `${documents} ${model}`)

beforeEach(async () => {
  for (const name of ['ada', 'bob']) {
    const owner = await store.owners.ensure(name)
    for (const { id } of await store.documents.list(owner, 100)) await store.documents.remove(owner, id)
  }
  ids.length = 0
  for (const [name, title] of [
    ['ada', 'ebb'],
    ['ada', 'flood'],
    ['bob', 'moon'],
  ] as const) {
    const owner = await store.owners.ensure(name)
    const options = { store, embedder: createEmbedder() }
    ids.push((await ingestDocument(options, owner, { title, text: `All about ${title}.` })).id)
  }
  ids.sort()
})

describe('reindexing', () => {
  it('embeds the documents of all owners, reports this, and has nothing to do the next time', async () => {
    const embedder = createEmbedder('mock-32')
    const { failed, lines } = await reindex(embedder)
    expect(failed).toBe(0)
    expect(lines).toEqual(['1 of 3 done', '2 of 3 done', '3 of 3 done', '3 embedded with mock-32, 0 failed'])
    expect(await embedders.countDocuments()).toEqual([{ model: 'mock-32', dimensions: 32, documents: 3 }])
    expect(await reindex(embedder)).toEqual({
      failed: 0,
      lines: ['0 embedded with mock-32, 0 failed'],
    })
  })

  it('continues after a document that fails, and deletes no vectors until all documents have new ones', async () => {
    const { name, embed } = createEmbedder('mock-32')
    const faulty: ReindexOptions['embedder'] = {
      name,
      embed: async (texts, signal) => {
        if (texts.some((text) => /moon/.test(text))) throw new LlmError('model_failed', 'it failed')
        return embed(texts, signal)
      },
    }
    const { failed, lines } = await reindex(faulty)
    expect(failed).toBe(1)
    expect(lines.at(-1)).toBe('2 embedded with mock-32, 1 failed')
    expect(await count()).toEqual(['2 mock-32', '3 offline-384'])
    expect((await reindex({ name, embed })).lines.at(-1)).toBe('1 embedded with mock-32, 0 failed')
    expect(await count()).toEqual(['3 mock-32'])
  })

  it('keeps the vectors of other models with --keep, and deletes them in the next run without it', async () => {
    const embedder = createEmbedder('mock-32')
    await reindex(embedder, true)
    expect(await count()).toEqual(['3 mock-32', '3 offline-384'])
    await reindex(embedder)
    expect(await count()).toEqual(['3 mock-32'])
  })

  it('finds the terms of chunks again if the tokenizer has changed', async () => {
    const search = async () => {
      const asked = { text: 'moon', embedding: null, embeddingModel: 'offline-384', limit: 5 }
      return (await store.passages.search(await store.owners.ensure('bob'), asked)).map(({ title }) => title)
    }
    await db.execute(sql`update chunks set tokenizer = 'old', terms = '{}', weights = '{}/1000000000'`)
    expect(await search()).toEqual([])
    const { lines } = await reindex(createEmbedder())
    expect(lines[0]).toBe('3 chunks can be found by their words again')
    expect(await search()).toEqual(['moon'])
    expect((await reindex(createEmbedder())).lines).toEqual(['0 embedded with offline-384, 0 failed'])
  })

  it('finds no more terms than asked', async () => {
    const renew = async () => ({ last: 'id', count: 100 })
    expect(await renewTerms({ renew, hasOutdated: async () => true }, 250)).toBe(300)
  })

  it('includes documents that are added or changed while it runs', async () => {
    const [{ name, embed }, old] = [createEmbedder('mock-32'), createEmbedder()]
    const owner = await store.owners.ensure('ada')
    const post = (externalId: string, text: string) =>
      ingestDocument({ store, embedder: old }, owner, { title: externalId, text, externalId })
    await post('report', 'A draft.')
    let isFirst = true
    const busy: Embedder['embed'] = async (texts, signal) => {
      const vectors = await embed(texts, signal)
      if (!isFirst || !texts.some((text) => text.includes('draft'))) return vectors
      isFirst = false
      await post('report', 'The final version.')
      await post('addition', 'It came meanwhile.')
      return vectors
    }
    await reindex({ name, embed: busy })
    expect(await count()).toEqual(['5 mock-32'])
    const contents = await db.execute(
      sql`select content from chunks where heading in ('report', 'addition') order by 1`,
    )
    expect([...contents]).toEqual([{ content: 'It came meanwhile.' }, { content: 'The final version.' }])
  })

  it('does not restore a document that its owner deletes while it runs', async () => {
    const { name, embed } = createEmbedder('mock-32')
    const removeAll: Embedder['embed'] = async (texts, signal) => {
      for (const owner of [await store.owners.ensure('ada'), await store.owners.ensure('bob')])
        for (const id of texts.some((text) => text.includes('about')) ? ids : [])
          await store.documents.remove(owner, id)
      return embed(texts, signal)
    }
    expect((await reindex({ name, embed: removeAll })).failed).toBe(0)
    expect(await count()).toEqual([])
    expect(await store.documents.list(await store.owners.ensure('ada'), 10)).toEqual([])
  })

  it('stops at once when the embedder fails', async () => {
    await expect(reindex(createEmbedder('mock?fault=500'))).rejects.toThrow('responded with 500')
    expect(await count()).toEqual(['3 offline-384'])
  })
})
