import { readManageConfig } from '@repo/config'
import { connect, createEmbedders, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import type { Embedder } from '@repo/llm'
import { createModels } from '@repo/models'
import { hashContent, ingestDocument, type RetrievedPassage, retrievePassages } from '@repo/rag'
import { startMockModel } from '@repo/testing/mock-model'
import { startProgram, until } from '@repo/testing/processes'
import { afterAll, expect, it } from 'vitest'

// Kills the real command halfway, next to a worker with the old model and continuous searches with both models.

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

type QueryEmbedder = Pick<Embedder, 'name' | 'embedQuery'>
const search = (embedder: QueryEmbedder) =>
  retrievePassages({ store, embedder }, owner, 'When is the harbour’s tide?', { limit: 100 })

/** Searches continuously. Returns a function that stops this and returns the results of each search. */
function startSearching(embedder: QueryEmbedder) {
  const found: RetrievedPassage[][] = []
  let isOver = false
  const searching = (async () => {
    while (!isOver) found.push(await search(embedder))
  })()
  return async () => {
    isOver = true
    await searching
    return found
  }
}

const isByVector = ({ vectorRank }: RetrievedPassage) => vectorRank !== null

/**
 * Returns the distinct numbers of documents that the searches found, and reports duplicates. `isCounted` selects
 * passages.
 */
const countEach = (searches: RetrievedPassage[][], isCounted = (_passage: RetrievedPassage) => true) =>
  new Set(
    searches.map((passages) => {
      const ids = passages.filter(isCounted).map(({ documentId }) => documentId)
      return new Set(ids).size === ids.length ? ids.length : `${ids.length} with some twice`
    }),
  )

it('reindex continues after a kill; meanwhile the old model finds every document by its vectors and the new one finds each once', async ({
  annotate,
}) => {
  const documentOf = (n: number) => ({ title: `Port ${n}`, text: `The harbour of port ${n} has its own tide.` })
  for (let n = 0; n < count; n += 1) await ingestDocument({ store, embedder: oldEmbedder }, owner, documentOf(n))
  const stopOldSearches = startSearching(oldEmbedder)
  const stopNewSearches = startSearching({ ...embedder, name: model })
  startProgram('apps/worker/dist/worker.js', oldEnv)
  const command = startProgram('apps/cli/dist/manage.js', env, ['reindex', '--keep'])
  await until(async () => (await countBy(model)) >= 5)
  command.child.kill('SIGKILL')
  await command.ended
  const whenKilled = await countBy(model)
  expect(whenKilled).toBeLessThan(count)

  const again = startProgram('apps/cli/dist/manage.js', env, ['reindex', '--keep'])
  const added = documentOf(count)
  const { id } = await store.documents.add(owner, { ...added, contentHash: hashContent(added.title, added.text) })
  await until(async () => (await store.documents.find(owner, id))?.status === 'ready')
  expect(countEach([await search(oldEmbedder)], isByVector)).toEqual(new Set([count + 1]))
  expect(await again.ended).toBe(0)
  expect(again.written.out).toMatch(/\d+ of \d+ done\n/)
  expect(again.written.out).toMatch(/, 0 failed\n/)
  const foundByOld = await stopOldSearches()
  expect(countEach(foundByOld, isByVector)).toEqual(new Set([count, count + 1]))

  const last = startProgram('apps/cli/dist/manage.js', env, ['reindex'])
  expect(await last.ended).toBe(0)
  expect(await createEmbedders(db).countDocuments()).toEqual([{ model, dimensions: 32, documents: count + 1 }])
  const foundByNew = await stopNewSearches()
  expect(countEach(foundByNew)).toEqual(new Set([count, count + 1]))
  expect(countEach([await search({ ...embedder, name: model })], isByVector)).toEqual(new Set([count + 1]))
  await annotate(
    `killed after ${whenKilled} of ${count}; meanwhile ${foundByOld.length} searches with the old model and ${foundByNew.length} with the new one`,
  )
})
