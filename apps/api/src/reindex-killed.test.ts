import { startMockModel } from '@repo/bench/mock-model'
import { connect, createEmbedders, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createLlm } from '@repo/llm'
import { ingestDocument, retrievePassages } from '@repo/rag'
import { afterAll, expect, it } from 'vitest'
import { startProgram, until } from './testing-processes.ts'

// The real command and the real worker, both killed in the middle, and somebody who searches all the while.

const test = await createTestDatabase()
const mock = await startMockModel()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 4 })
const store = createStore(db)
const owner = await store.owners.ensure('ada')
const oldEmbedder = createLlm({
  baseUrl: mock.url,
  beforeCall: () => {},
  firstByteTimeoutMs: 1,
  idleTimeoutMs: 1,
}).embedder
const model = 'mock-32?delay=250'
const env = { DATABASE_URL: test.databaseUrl, OPENAI_BASE_URL: mock.url, EMBEDDING_MODEL: model }
const count = 40

afterAll(async () => {
  await Promise.all([mock.close(), close()])
  await test.drop()
})

const countNew = async () =>
  (await createEmbedders(db).countDocuments()).find((row) => row.model === model)?.documents ?? 0

/** Searches again and again, by the words and by the old model's vector, until told to end; gives how many it found each time. */
function startSearching() {
  const found: number[] = []
  let isOver = false
  const search = async () => {
    while (!isOver) {
      const passages = await retrievePassages({ store, embedder: oldEmbedder }, owner, 'harbour tide', { limit: 100 })
      found.push(new Set(passages.map(({ documentId }) => documentId)).size)
    }
    return found
  }
  const searching = search()
  return () => {
    isOver = true
    return searching
  }
}

it('reindex goes on after command and worker are killed in its middle, and every search meanwhile finds every document', async ({
  annotate,
}) => {
  for (let n = 0; n < count; n += 1) {
    const document = { title: `Port ${n}`, text: `The harbour of port ${n} has its own tide.` }
    await ingestDocument({ store, embedder: oldEmbedder }, owner, document)
  }
  const stopSearching = startSearching()
  const [worker, command] = [
    startProgram('../../worker/src/worker.ts', env),
    startProgram('manage.ts', env, ['reindex']),
  ]
  await until(async () => (await countNew()) >= 5)
  for (const { child } of [command, worker]) child.kill('SIGKILL')
  await Promise.all([command.ended, worker.ended])
  const whenKilled = await countNew()
  expect(whenKilled).toBeLessThan(count)

  // A dead worker's jobs are noticed within seconds; the true time is 15 s more.
  await db.execute(sql`update pgboss.job set heartbeat_seconds = 2 where state = 'active'`)
  startProgram('../../worker/src/worker.ts', env)
  const again = startProgram('manage.ts', env, ['reindex'])
  expect(await again.ended).toBe(0)
  expect(again.written.out).toMatch(/\d+ of \d+ done\n/)
  expect(again.written.out).toMatch(/, 0 failed\n$/)
  expect(await createEmbedders(db).countDocuments()).toEqual([{ model, dimensions: 32, documents: count }])
  const [chunks] = await db.execute(sql`select count(*)::int as count from chunks`)
  expect(chunks).toEqual({ count })
  const found = await stopSearching()
  expect(new Set(found)).toEqual(new Set([count]))
  await annotate(`killed after ${whenKilled} of ${count}; ${found.length} searches meanwhile, each found all ${count}`)
}, 90_000)
