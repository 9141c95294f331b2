import { startMockModel } from '@repo/bench/mock-model'
import { connect, createEmbedders, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import type { Embedder } from '@repo/llm'
import { hashContent, ingestDocument, type RetrievedPassage, retrievePassages } from '@repo/rag'
import { afterAll, expect, it } from 'vitest'
import { readManageConfig } from './config.ts'
import { createModels } from './models.ts'
import { startProgram, until } from './testing-processes.ts'

// The real command, killed in the middle, beside a worker of the old model, and somebody who searches by each all the while.

const test = await createTestDatabase()
const mock = await startMockModel()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 4 })
const store = createStore(db)
const owner = await store.owners.ensure('ada')
const model = 'mock-32?delay=400'
const [env, oldEnv] = [
  { DATABASE_URL: test.databaseUrl, OPENAI_BASE_URL: mock.url, EMBEDDING_MODEL: model },
  { DATABASE_URL: test.databaseUrl },
]
const modelsOf = (environment: Record<string, string>) => createModels(readManageConfig(environment)).embedder
const [embedder, oldEmbedder] = [modelsOf({ ...env, EMBEDDING_MODEL: 'mock-32' }), modelsOf(oldEnv)]
const count = 40

afterAll(async () => {
  await Promise.all([mock.close(), close()])
  await test.drop()
})

const countBy = async (name: string) =>
  (await createEmbedders(db).countDocuments()).find((row) => row.model === name)?.documents ?? 0

type Asked = Pick<Embedder, 'name' | 'embedQuery'>
const search = (asked: Asked) =>
  retrievePassages({ store, embedder: asked }, owner, 'When is the harbour’s tide?', { limit: 100 })

/** Searches again and again until told to end, and gives what each search found. */
function startSearching(asked: Asked) {
  const found: RetrievedPassage[][] = []
  let isOver = false
  const searching = (async () => {
    while (!isOver) found.push(await search(asked))
  })()
  return async () => {
    isOver = true
    await searching
    return found
  }
}

const isByVector = ({ vectorRank }: RetrievedPassage) => vectorRank !== null

/** Of each search how many documents it found, each once; those that its vectors found, where they are asked for. */
const countEach = (searches: RetrievedPassage[][], isCounted = (_passage: RetrievedPassage) => true) =>
  new Set(
    searches.map((passages) => {
      const ids = passages.filter(isCounted).map(({ documentId }) => documentId)
      return new Set(ids).size === ids.length ? ids.length : `${ids.length} with some twice`
    }),
  )

it('reindex goes on after it is killed in its middle; meanwhile the old model finds every document by its vectors, also a new one, and the new one finds each once', async ({
  annotate,
}) => {
  const documentOf = (n: number) => ({ title: `Port ${n}`, text: `The harbour of port ${n} has its own tide.` })
  for (let n = 0; n < count; n += 1) await ingestDocument({ store, embedder: oldEmbedder }, owner, documentOf(n))
  const stopAskingOld = startSearching(oldEmbedder)
  const stopAskingNew = startSearching({ ...embedder, name: model })
  startProgram('../../worker/src/worker.ts', oldEnv)
  const command = startProgram('manage.ts', env, ['reindex', '--keep'])
  await until(async () => (await countBy(model)) >= 5)
  command.child.kill('SIGKILL')
  await command.ended
  const whenKilled = await countBy(model)
  expect(whenKilled).toBeLessThan(count)

  const again = startProgram('manage.ts', env, ['reindex', '--keep'])
  const added = documentOf(count)
  const { id } = await store.documents.add(owner, { ...added, contentHash: hashContent(added.title, added.text) })
  await until(async () => (await store.documents.find(owner, id))?.status === 'ready')
  expect(countEach([await search(oldEmbedder)], isByVector)).toEqual(new Set([count + 1]))
  expect(await again.ended).toBe(0)
  expect(again.written.out).toMatch(/\d+ of \d+ done\n/)
  expect(again.written.out).toMatch(/, 0 failed\n/)
  const foundByOld = await stopAskingOld()
  expect(countEach(foundByOld, isByVector)).toEqual(new Set([count, count + 1]))

  const last = startProgram('manage.ts', env, ['reindex'])
  expect(await last.ended).toBe(0)
  expect(await createEmbedders(db).countDocuments()).toEqual([{ model, dimensions: 32, documents: count + 1 }])
  const foundByNew = await stopAskingNew()
  expect(countEach(foundByNew)).toEqual(new Set([count, count + 1]))
  expect(countEach([await search({ ...embedder, name: model })], isByVector)).toEqual(new Set([count + 1]))
  await annotate(
    `killed after ${whenKilled} of ${count}; meanwhile ${foundByOld.length} searches by the old model and ${foundByNew.length} by the new`,
  )
})
