import { startMockModel } from '@repo/bench/mock-model'
import { connect, createEmbedders, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { type Embedder, LlmError } from '@repo/llm'
import { ingestDocument } from '@repo/rag'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { readManageConfig } from './config.ts'
import { createModels } from './models.ts'
import { reindexDocuments } from './reindex.ts'

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

/** Throws for texts that fit, as often as told. */
function createFaulty(faults: number, fits: RegExp, error: Error): Embedder {
  const { name, embed } = createEmbedder('mock-32')
  let left = faults
  const embedOrFail: Embedder['embed'] = async (texts, signal) => {
    if (texts.some((text) => fits.test(text)) && left-- > 0) throw error
    return embed(texts, signal)
  }
  return { name, embed: embedOrFail }
}

async function reindex(embedder: Embedder) {
  const lines: string[] = []
  const failed = await reindexDocuments({ db, embedder, report: (line) => lines.push(line) })
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
  it('embeds the documents of all owners anew, says so for each, and has nothing to do the next time', async () => {
    const embedder = createEmbedder('mock-32')
    expect(await reindex(embedder)).toEqual({
      failed: 0,
      lines: [
        ...ids.map((id, index) => `${index + 1} of 3: document ${id} done`),
        '3 embedded anew by mock-32, 0 failed',
      ],
    })
    expect(await embedders.countDocuments()).toEqual([{ model: 'mock-32', dimensions: 32, documents: 3 }])
    expect(await reindex(embedder)).toEqual({ failed: 0, lines: ['0 embedded anew by mock-32, 0 failed'] })
  })

  it('goes on after a document that fails, which keeps what it has until the next run', async () => {
    const faulty = createFaulty(1, /moon/, new LlmError('model_failed', 'it broke'))
    const { failed, lines } = await reindex(faulty)
    expect(failed).toBe(1)
    expect(lines.filter((line) => line.includes('failed: It broke: try again.'))).toHaveLength(1)
    expect(lines.at(-1)).toBe('2 embedded anew by mock-32, 1 failed')
    expect(await count()).toEqual(['2 mock-32', '1 offline-384'])
    expect((await reindex(faulty)).lines.at(-1)).toBe('1 embedded anew by mock-32, 0 failed')
    expect(await count()).toEqual(['3 mock-32'])
  })

  it('waits when the vendor says that it asks too much', async () => {
    const limit = new LlmError('model_rate_limited', 'too many', { retryAfterSeconds: 0.01 })
    expect(await reindex(createFaulty(4, /flood/, limit))).toMatchObject({ failed: 0 })
  })

  it('does not bring back a document that its owner deletes meanwhile', async () => {
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

  it('stops at once when the embedder does not answer at all', async () => {
    await expect(reindex(createEmbedder('mock?fault=500'))).rejects.toThrow('answered 500')
    expect(await count()).toEqual(['3 offline-384'])
  })
})
