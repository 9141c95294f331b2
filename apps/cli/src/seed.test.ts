import { readManageConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createModels } from '@repo/models'
import { ingestDocument, retrievePassages } from '@repo/rag'
import { runProgram } from '@repo/testing/processes'
import { afterAll, describe, expect, it } from 'vitest'

const test = await createTestDatabase()
const DATABASE_URL = test.databaseUrl
const database = connect({ url: DATABASE_URL, poolSize: 1 })
const store = createStore(database.db)
const owner = await store.owners.ensure('local')
const titles = ['Sluice: async and pooling', 'Sluice: decisions', 'Sluice: overview']

afterAll(async () => {
  await database.close()
  await test.drop()
})

const seed = (env: Record<string, string> = {}) => runProgram('apps/cli/src/seed.ts', { DATABASE_URL, ...env })
const list = async () => (await store.documents.list(owner, 100)).toSorted((a, b) => (a.title < b.title ? -1 : 1))
const away = { EMBEDDING_MODEL: 'away', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }

describe('the sample documents', () => {
  it('are there but cannot be found while the embedder is away, which is said for each', async () => {
    const { code, out, err } = await seed(away)
    expect(out).toMatch(/^(Sluice: .* cannot be found yet: .*\S\. The next start tries again\.\n){3}$/)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect((await list()).map(({ title, status }) => `${title} ${status}`)).toEqual(
      titles.map((title) => `${title} failed`),
    )
  })

  it('become ready without a key, and stay as they are the next time', async () => {
    expect(await seed()).toEqual({ code: 0, out: '', err: '' })
    const documents = await list()
    expect(documents.map(({ title }) => title)).toEqual(titles)
    expect(new Set(documents.map(({ status }) => status))).toEqual(new Set(['ready']))
    expect(await seed()).toEqual({ code: 0, out: '', err: '' })
    expect(await list()).toEqual(documents)
  })

  it('replace their older versions, and nothing else', async () => {
    const before = await list()
    const [sample] = before
    if (!sample) throw new Error('no sample')
    const externalId = sample.externalId ?? ''
    const embedder = createModels(readManageConfig({ DATABASE_URL })).embedder
    const older = { title: sample.title, text: 'A zeppelin lands.', externalId }
    await ingestDocument({ store, embedder }, owner, older)
    await ingestDocument({ store, embedder }, owner, { title: '(My own)', text: 'Mine.' })
    const find = async (text: string) =>
      (await retrievePassages({ store, embedder }, owner, text, { limit: 1 })).map(({ documentId, text }) => ({
        documentId,
        text,
      }))

    await seed(away)
    expect(await find('A zeppelin lands.')).toEqual([{ documentId: sample.id, text: 'A zeppelin lands.' }]) // the older one is still of use
    await seed()
    const after = await list()
    expect(after.map(({ title }) => title)).toEqual(['(My own)', ...titles])
    expect(after[1]).toMatchObject({ id: sample.id, status: 'ready' })
    expect(await find('A zeppelin lands.')).not.toContainEqual({ documentId: sample.id, text: 'A zeppelin lands.' })
  })

  it('cannot be loaded without a database, which is said in one line', async () => {
    const { code, err } = await seed({ DATABASE_URL: 'postgres://sluice:hunter2@127.0.0.1:9/sluice' })
    expect(err).toMatch(/^The sample documents could not be loaded: .*ECONNREFUSED.*\n$/)
    expect(err).not.toContain('hunter2')
    expect(code).toBe(1)
  })
})
