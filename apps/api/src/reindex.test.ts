import { setTimeout as sleep } from 'node:timers/promises'
import { startMockModel } from '@repo/bench/mock-model'
import { connect, createEmbedders, createStore, type DocumentJob, ingestQueue } from '@repo/db'
import { startQueue } from '@repo/db/queue'
import { createTestDatabase } from '@repo/db/testing'
import { type Embedder, LlmError } from '@repo/llm'
import { ingestDocument, processDocument } from '@repo/rag'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { readManageConfig } from './config.ts'
import { createModels } from './models.ts'
import { type ReindexOptions, reindexDocuments } from './reindex.ts'

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

/** Runs it beside a worker of that embedder, which gives up at the first failure. */
async function reindex(embedder: ReindexOptions['embedder']) {
  const lines: string[] = []
  const working = new AbortController()
  const worker = work(embedder, working.signal)
  const failed = await reindexDocuments({ db, embedder, report: (line) => lines.push(line) }).finally(() =>
    working.abort(),
  )
  await worker
  return { failed, lines }
}

async function work(embedder: ReindexOptions['embedder'], signal: AbortSignal) {
  const queue = await startQueue(test.databaseUrl, () => {})
  while (!signal.aborted) {
    const [job] = await queue.fetch<DocumentJob>(ingestQueue)
    if (!job) await sleep(50)
    if (!job) continue
    const { owner, documentId: id, version } = job.data
    const giveUp = () => store.documents.fail(owner, { id, version }, 'given up')
    await processDocument({ store, embedder }, owner, { id, version }).catch(giveUp)
    await queue.complete(ingestQueue, job.id)
  }
  await queue.stop({ graceful: false })
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
  it('embeds the documents of all owners anew, says so, and has nothing to do the next time', async () => {
    const embedder = createEmbedder('mock-32')
    const { failed, lines } = await reindex(embedder)
    expect(failed).toBe(0)
    expect([lines.at(0), ...lines.slice(-2)]).toEqual([
      '3 queued for mock-32',
      '3 of 3 done',
      '3 embedded anew by mock-32, 0 failed',
    ])
    expect(await embedders.countDocuments()).toEqual([{ model: 'mock-32', dimensions: 32, documents: 3 }])
    expect(await reindex(embedder)).toEqual({
      failed: 0,
      lines: ['0 queued for mock-32', '0 embedded anew by mock-32, 0 failed'],
    })
  })

  it('goes on after a document that fails, which keeps what it has until the next run', async () => {
    const { name, embed } = createEmbedder('mock-32')
    const faulty: ReindexOptions['embedder'] = {
      name,
      embed: async (texts, signal) => {
        if (texts.some((text) => /moon/.test(text))) throw new LlmError('model_failed', 'it broke')
        return embed(texts, signal)
      },
    }
    const { failed, lines } = await reindex(faulty)
    expect(failed).toBe(1)
    expect(lines.at(-1)).toBe('2 embedded anew by mock-32, 1 failed')
    expect(await count()).toEqual(['2 mock-32', '1 offline-384'])
    expect((await reindex({ name, embed })).lines.at(-1)).toBe('1 embedded anew by mock-32, 0 failed')
    expect(await count()).toEqual(['3 mock-32'])
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
